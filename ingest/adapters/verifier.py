"""What checks one way in which requests prove who sent them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ingest.adapters.base import Request

SIGNATURES_MAX = 16
"""In one request. A rotation needs two or three, and whoever sends a thousand wants to keep us busy."""
BY_PRIVATE_KEY_MAX = 4
"""Of those that are checked with a public key: each hashes the whole body anew, 16 of 2 MiB for a third of a second."""


@dataclass(slots=True)
class Draft:
    """A request that is about to be signed; what signs it adds to it."""

    url: str
    body: bytes
    now_seconds: float
    message_id: str
    headers: list[tuple[str, str]] = field(default_factory=list)

    def request(self) -> Request:
        """Return it as it would be received."""
        return Request("POST", self.url, [(name.lower(), value) for name, value in self.headers], self.body)


class Verifier(Protocol):
    """One scheme, bound to the secrets of one source. Built once, at start."""

    secret_headers: frozenset[str]
    """The headers that hold signature or token, in lower case."""

    def is_borne(self, request: Request) -> bool:
        """Tell whether ``request`` bears this scheme's signature or token, good or bad. Never raises."""

    def verify(self, request: Request, now_seconds: float) -> int:
        """Return the index of the secret that verifies ``request``, else raise RefusedError."""

    def scheme(self, request: Request) -> str:
        """Return what ``request`` bears, for people: a text of a closed set, `none` where nothing. Never raises."""

    def signed_time(self, request: Request) -> str | None:
        """Return the timestamp as the request bears it, None without a single one. Never raises."""

    def signed_seconds(self, request: Request) -> float | None:
        """Return the same as Unix seconds, None where it is no time, or in a body too large to look into. Never raises.

        Asked of every request that is refused, so of strangers'.
        """

    def sign(self, draft: Draft) -> None:
        """Make ``draft`` what the provider would send with the first secret; raise UsageError where nobody here could."""

    def without_secret(self, body: bytes) -> bytes:
        """Return ``body`` without the secret, where this scheme puts it there."""


def first_of(names: str | Sequence[str] | None) -> str:
    """Return the name that is used for sending."""
    return "" if names is None else names if isinstance(names, str) else names[0]


def all_of(names: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return ``names`` as header names are compared: in lower case."""
    listed = () if names is None else (names,) if isinstance(names, str) else tuple(names)
    return tuple(name.lower() for name in listed)
