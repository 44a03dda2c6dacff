"""A configured endpoint."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.adapters.base import Adapter
from ingest.rates import Rate


@dataclass(frozen=True, slots=True)
class Source:
    """`/webhooks/{name}`: its provider's adapter, the URL its provider signs, and how often it may come."""

    name: str
    adapter: Adapter
    public_url: str | None
    rate: Rate | None = None
