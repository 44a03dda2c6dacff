"""How one request should be signed, in the words of declarations: for whoever explains why it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ingest.adapters.base import Request
from ingest.adapters.declaration import Signature, Timestamp


@dataclass(frozen=True, slots=True)
class InWords:
    """The scheme that decides over ``request``, which is the one received as far as the scheme sees it.

    ``provider`` is its name, ``tolerance_seconds`` the source's own.
    """

    provider: str
    signature: Signature
    timestamp: Timestamp | None
    request: Request
    secrets: Sequence[str] = field(repr=False)
    tolerance_seconds: int | None = None


@runtime_checkable
class Worded(Protocol):
    """An adapter whose scheme can be said in words."""

    def in_words(self, request: Request) -> InWords | None:
        """Return by which scheme ``request`` is judged, None where words do not suffice. Never raises."""


def standard(prefixes: Sequence[str], request: Request) -> tuple[Signature, Timestamp]:
    """Return what `v1` of Standard Webhooks is in words, each header under the first prefix that it is there with."""

    def named(what: str) -> str:
        found = (f"{prefix}-{what}" for prefix in prefixes if request.values(f"{prefix}-{what}".lower()))
        return next(found, f"{prefixes[0]}-{what}")

    signature = Signature(
        kind="hmac",
        header=named("signature"),
        encoding="base64",
        signed=f"{{header:{named('id')}}}.{{timestamp}}.{{body}}",
        prefix="v1,",
        layout="list",
        separator=" ",
        key="base64",
        key_prefix="whsec_",
    )
    return signature, Timestamp(header=named("timestamp"))
