"""What every provider adapter is: pure functions of secrets, request and clock."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol, Self
from urllib.parse import quote

from tidegate.errors import UsageError
from tidegate.telemetry.redaction import MASK

Headers = Sequence[tuple[str, str]]
"""Header pairs as received, names lower-cased, values decoded as latin-1. A name may occur twice."""

RefusalReason = Literal[
    "missing_header",  # 401: a signature header is absent or empty
    "duplicate_header",  # 401: a signature header occurs twice: which one is signed cannot be known
    "malformed_signature",  # 401: the header cannot be read as this scheme
    "wrong_scheme",  # 401: only schemes we do not support (or hold no key for)
    "bad_signature",  # 401: no configured secret produces this signature
    "missing_secret",  # 401: a body-secret provider sent no secret
    "stale",  # 401: signed too long ago
    "future",  # 401: signed too far ahead of our clock
    "malformed_body",  # 400: not JSON, or not the JSON this provider sends
    "no_event_id",  # 400: nothing to tell this event from another by
    "too_many_events",  # 413: more events than one request may carry
]

_UNPREFIXED_CHARS_MIN = 8
"""What is left of a shorter secret without its prefix is no secret, and may be part of any word."""

UNAUTHENTIC: frozenset[str] = frozenset(
    {
        "missing_header",
        "duplicate_header",
        "malformed_signature",
        "wrong_scheme",
        "bad_signature",
        "missing_secret",
        "stale",
        "future",
    }
)


class RefusedError(Exception):
    """The request is not accepted. ``reason`` is from a closed set; ``detail`` is for the operator, never the client.

    Neither ever holds a secret, a signature or any part of the body. ``clock_seconds`` is how far the signed time is behind
    ours (negative: ahead), where that was the reason.
    """

    def __init__(self, reason: RefusalReason, detail: str = "", *, clock_seconds: float | None = None) -> None:
        super().__init__(reason, detail)
        self.reason: RefusalReason = reason
        self.detail = detail
        self.clock_seconds = clock_seconds

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as the provider signed it.

    ``url`` is the source's configured ``public_url`` (plus the query string as called), or the URL rebuilt from the
    request where none is configured. ``body`` is the exact bytes received.
    """

    method: str
    url: str
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of ``name`` (lower case), None when absent.

        Raises RefusedError(duplicate_header) when it occurs more than once: a proxy and we could read different ones.
        """
        found: str | None = None
        for key, value in self.headers:
            if key == name:
                if found is not None:
                    times = len(self.values(name))
                    raise RefusedError(
                        "duplicate_header",
                        f"{name} occurs {times} times: does a proxy add it to what the provider sent?",
                    )
                found = value
        return found

    def values(self, name: str) -> list[str]:
        """Return every value of ``name`` (lower case), for whoever only looks."""
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, slots=True)
class Parsed:
    """One event cut out of a verified request.

    ``payload`` holds the bytes as received (less a body secret). ``malformed`` says why this element cannot be an
    event; it is accepted all the same and ends as a letter, so that its neighbours in the array are not refused.
    """

    provider_event_id: str
    event_type: str
    occurred_at_ms: int | None
    key: str
    payload: bytes
    malformed: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in the provider's own terms: to a handshake, or to events that were taken."""

    status: int
    content_type: str = ""
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class Adapter(Protocol):
    """A provider's contract, bound to the secrets of one source. Built once at start; raises UsageError on bad secrets."""

    provider: str
    content_types: frozenset[str]
    """The media types this provider sends, in lower case; `+json` stands for every type that ends so."""
    methods: frozenset[str]
    """The methods that this provider sends events with."""
    greets: frozenset[str]
    """The methods of its handshakes."""
    statuses: Mapping[int, int]
    """What this provider has to be answered instead of one of our error statuses, to do what ours means."""
    secret_headers: frozenset[str]
    """Names, in lower case, of headers that prove who sent a request: never kept, whatever they are called."""
    success: Reply | None
    """The answer for events that were taken, where this provider wants another one than 202 and our summary."""

    def takes(self, media_type: str) -> bool:
        """Tell whether this provider sends ``media_type``: lower case, without parameters."""

    def masked(self, text: str) -> str:
        """Return ``text`` with every configured secret in it masked, whatever its case."""

    def trimmed(self) -> Self | None:
        """Return the same adapter with the space around its secrets taken off; None when there is none.

        A secret pasted with its newline is the most usual wrong secret.
        """

    def at_rate(self, per_second: float | None) -> Self:
        """Return the adapter of a source that takes so many requests a second, any number where None.

        Of use only to a provider that is told so in a handshake.
        """

    def scheme(self, request: Request) -> str:
        """Return which signatures ``request`` bears, for people: a text of a closed set, `none` where it bears none.

        Never raises, and holds nothing that the client chose.
        """

    def clock_difference(self, request: Request, now_seconds: float) -> float | None:
        """Return how far the time the request says it was signed at is behind ours (negative: ahead), in seconds.

        Read before any signature is checked, so a claim: it often explains why a signature is bad. None where the request
        bears no readable time, or the provider signs none. Never raises.
        """

    def greeting(self, request: Request, now_seconds: float) -> Reply | None:
        """Return the answer when ``request`` is a handshake and brings no event, None when it is none.

        Raises RefusedError for a handshake that has to be authentic and is not.
        """

    def verify(self, request: Request, now_seconds: float) -> int:
        """Return the index of the configured secret that verifies ``request``, else raise RefusedError."""

    def split(self, request: Request) -> list[Parsed]:
        """Cut a verified request into its events; raise RefusedError(malformed_body | no_event_id) otherwise."""

    def sign(
        self,
        body: bytes,
        *,
        url: str,
        now_seconds: float,
        message_id: str,
        headers: Sequence[tuple[str, str]] = (),
    ) -> tuple[list[tuple[str, str]], bytes]:
        """Return the (headers, body) this provider would send for ``body`` with the first configured secret.

        ``headers`` are those beside the signature's, as an event's type is one with some.

        Raises UsageError where the provider could not send it: a body it never sends, or no secret that signs.
        """

    def called(self, url: str) -> str:
        """Return the URL that the provider calls when it was told ``url``: its token may be in the query."""


class JsonSender:
    """What providers have in common that post JSON, greet nobody and come back after a 503.

    ``secrets`` are the configured texts.
    """

    content_types: frozenset[str] = frozenset({"application/json"})
    methods: frozenset[str] = frozenset({"POST"})
    greets: frozenset[str] = frozenset()
    statuses: Mapping[int, int] = MappingProxyType({})
    secret_headers: frozenset[str] = frozenset()
    success: Reply | None = None

    def __init__(self, secrets: Sequence[str]) -> None:
        spelled = {spelling for secret in secrets for spelling in _spellings(secret)}
        longest_first = sorted(spelled, key=len, reverse=True)
        self._hidden = re.compile("|".join(map(re.escape, longest_first)) or "(?!)", re.IGNORECASE)

    def takes(self, media_type: str) -> bool:
        """Tell whether this provider sends ``media_type``: lower case, without parameters."""
        _, plus, suffix = media_type.rpartition("+")
        return media_type in self.content_types or plus + suffix in self.content_types

    def at_rate(self, per_second: float | None) -> Self:
        """Return the same: whoever says nothing else tells no rate."""
        return self

    def greeting(self, request: Request, now_seconds: float) -> Reply | None:
        """Return None: whoever says nothing else has no handshake."""
        return None

    def called(self, url: str) -> str:
        """Return ``url``: whoever says nothing else calls what it was told."""
        return url

    def masked(self, text: str) -> str:
        """Return ``text`` with every configured secret in it masked, whatever its case."""
        return self._hidden.sub(MASK, text)


def _spellings(secret: str) -> Iterator[str]:
    """Give ``secret`` as it may stand in a path or header: bare, without its prefix, escaped, its bytes as latin-1."""
    bare = secret.strip()
    unprefixed = re.sub(r"^wh[a-z]{1,4}_", "", bare).rstrip("=")
    for spelling in (bare, quote(bare, safe=""), bare.encode().decode("latin-1")):
        if spelling:
            yield spelling
    if len(unprefixed) >= _UNPREFIXED_CHARS_MIN:
        yield unprefixed


def content_id(payload: bytes) -> str:
    """Return the event id for a payload that names none: ``sha256:`` and the hash of its bytes."""
    return "sha256:" + hashlib.sha256(payload).hexdigest()


def usable(secrets: Sequence[str]) -> tuple[str, ...]:
    """Return ``secrets``; raise UsageError when there is none, or one that would verify what anybody can send."""
    if not secrets:
        raise UsageError('no secret is configured: give at least one, e.g. secrets = ["env:WEBHOOK_SECRET"]')
    for secret in secrets:
        if not secret.strip():
            raise UsageError("a configured secret is empty")
        try:
            secret.encode()
        except UnicodeEncodeError:
            raise UsageError("a configured secret is not UTF-8 text") from None
    return tuple(secrets)


def same(expected: str, given: str) -> bool:
    """Compare in constant time. As bytes where it must be, because compare_digest raises on text that is not ASCII."""
    if expected.isascii() and given.isascii():
        return hmac.compare_digest(expected, given)
    return hmac.compare_digest(expected.encode("utf-8", "surrogatepass"), given.encode("utf-8", "surrogatepass"))
