"""Verifying: what an adapter adds to the hash that it cannot do without."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from ingest.adapters import build, catalogue, hubspot, templates
from ingest.adapters.base import Adapter, Request
from ingest.adapters.declaration import Declaration, Signature
from ingest.adapters.hashes import key_bytes
from ingest.adapters.samples import sample
from ingest.adapters.stamps import Stamp

BODY_BYTES = 1024
URL = "https://hooks.example.com/webhooks/bench"
BESIDE = [
    ("host", "hooks.example.com"),
    ("user-agent", "Provider/1.0 (+https://example.com)"),
    ("content-length", str(BODY_BYTES)),
    ("accept", "*/*"),
    ("accept-encoding", "gzip, deflate, br"),
    ("cache-control", "no-cache"),
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "hooks.example.com"),
    ("x-request-id", "0b5e7a0c-6a53-4b3a-9d1a-0d7b8b4f2a11"),
]
"""What providers and proxies send besides; with the type of the content and a signature some twelve headers."""
_KEY = bytes(range(32))
_TEXT = "bench_secret_of_thirty_two_chars"
_MESSAGE_ID = "msg_bench"
_CALLS = 500
"""Of one measurement: some milliseconds, so that the two of a pair meet the same machine."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds, the lowest measured: whatever else runs here only adds. ``ratio``, verify to bare, is the pairs' median."""

    provider: str
    bare: float
    verify: float
    ratio: float
    greeting: float
    split: float


def measure(rounds: int) -> Iterator[Cost]:
    """Give the cost of each provider that signs with an HMAC: ``rounds`` times ten pairs of bare and verify, in turn."""
    now = float(int(time.time()))
    for name in catalogue.names():
        words = catalogue.declaration(name)
        signed = _Signed.of(name, words, now)
        if signed is None:
            continue
        adapter, request = signed.adapter, signed.request
        assert adapter.verify(request, now) == 0
        assert len(adapter.split(request)) == 1
        ways: list[Callable[[], object]] = [
            signed.bare,
            lambda adapter=adapter, request=request: adapter.verify(request, now),  # type: ignore[misc]
            lambda adapter=adapter, request=request: adapter.greeting(request, now),  # type: ignore[misc]
            lambda adapter=adapter, request=request: adapter.split(request),  # type: ignore[misc]
        ]
        measured = [[_microseconds(way) for way in ways] for _ in range(10 * rounds)]
        bare, verify, greeting, split = (min(column) for column in zip(*measured, strict=True))
        yield Cost(name, bare, verify, median(row[1] / row[0] for row in measured), greeting, split)


@dataclass(frozen=True, slots=True)
class _Signed:
    """A request as the provider would send it, and the least that verifies it: the hash, and the comparison."""

    adapter: Adapter
    request: Request
    bare: Callable[[], bool]

    @classmethod
    def of(cls, name: str, words: Declaration, now: float) -> _Signed | None:
        signature = words.signatures[0] if words.signatures else Signature(kind="hmac", header=hubspot.SIGNATURE_V3)
        if signature.kind not in ("hmac", "standard-webhooks") or words.code not in (None, "hubspot"):
            return None
        secret = _secret(signature)
        adapter = build(name, [secret])
        found = sample(words, now_seconds=now)
        headers, body = adapter.sign(
            _padded(found.body), url=URL, now_seconds=now, message_id=_MESSAGE_ID, headers=found.headers
        )
        request = Request("POST", URL, [*BESIDE, *((header.lower(), value) for header, value in headers)], body)
        key = _KEY if signature.kind == "standard-webhooks" else key_bytes(secret, signature)
        content, hash_name = _content(words, signature, request, now, key), signature.hash

        def bare() -> bool:
            made = hmac.digest(key, content, hash_name)
            return hmac.compare_digest(made, made)

        return cls(adapter, request, bare)


def _secret(signature: Signature) -> str:
    if signature.kind == "standard-webhooks":
        return "whsec_" + base64.b64encode(_KEY).decode()
    written = {"hex": _KEY.hex(), "base64": base64.b64encode(_KEY).decode()}
    return signature.key_prefix + written.get(signature.key, _TEXT)


def _content(words: Declaration, signature: Signature, request: Request, now: float, key: bytes) -> bytes:
    if words.code == "hubspot":
        return f"POST{URL}".encode() + request.body + str(int(now * 1000)).encode()
    if signature.kind == "standard-webhooks":
        return f"{_MESSAGE_ID}.{int(now)}.".encode() + request.body
    timestamp = Stamp(words.timestamp, None).of(now) if words.timestamp is not None else ""
    return templates.compiled(signature.signed)(request, timestamp, key)


def _padded(body: bytes) -> bytes:
    """Return ``body`` with one more member or field, which makes it BODY_BYTES long."""
    missing = max(BODY_BYTES - len(body) - 14, 1)
    opened = body.find(b"{") + 1
    if not body.lstrip().startswith((b"{", b"[")):
        return body + b"&padding=" + b"x" * missing
    return body[:opened] + b'"padding": "' + b"x" * missing + b'",' + body[opened:]


def _microseconds(way: Callable[[], object]) -> float:
    started = time.thread_time_ns()
    for _ in range(_CALLS):
        way()
    return (time.thread_time_ns() - started) / _CALLS / 1000
