"""A configured endpoint."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.adapters.base import Adapter
from ingest.evidence import Secret
from ingest.rates import Rate


@dataclass(frozen=True, slots=True)
class Source:
    """`/webhooks/{name}`: its provider's adapter, the URL its provider signs, and how often it may come.

    ``secrets`` are in the adapter's order, for noting which one verified.
    """

    name: str
    adapter: Adapter
    public_url: str | None
    secrets: tuple[Secret, ...]
    rate: Rate | None = None
