"""`tidegate verify`: whatever a line of captured requests holds gets a verdict."""

from __future__ import annotations

import json

from ingest.adapters import build, capture
from tests.fuzz import of_adapter, of_json
from tests.fuzz.target import Target, expect

_DEFAULT = build("standard-webhooks", [of_adapter.SECRETS["standard-webhooks"]])
_FIELDS = ("provider", "secret", "at", "now", "method", "url", "headers", "body", "body_base64")


def line(raw: bytes) -> None:
    """A line of JSON gets a verdict with one reason, which never tells the secret of the source."""
    try:
        held = json.loads(raw)
    except (ValueError, RecursionError):  # told to the user line by line before it comes here
        return
    verdict = capture.check(held, default_adapter=_DEFAULT, default_now=of_adapter.NOW)
    expect(verdict.valid == (verdict.reason == "valid"), "a verdict agrees with its reason")
    expect(of_adapter.SECRETS["standard-webhooks"] not in verdict.detail, "no verdict tells the secret")


def _seeds() -> list[bytes]:
    found = []
    for provider, bodies in of_adapter.BODIES.items():
        adapter = build(provider, [of_adapter.SECRETS[provider]])
        headers, signed = adapter.sign(bodies[0], url=of_adapter.URL, now_seconds=of_adapter.NOW, message_id="msg_1")
        captured = {
            "provider": provider,
            "secret": of_adapter.SECRETS[provider],
            "at": of_adapter.NOW,
            "method": "POST",
            "url": of_adapter.URL,
            "headers": headers,
            "body": signed.decode(),
        }
        found.append(json.dumps(captured).encode())
        found.append(json.dumps({**captured, "body": signed.decode() + "\n"}).encode())
    return [
        *found,
        b'{"body_base64":"e30=","headers":[["A","\\u00e9"],["webhook-id","1"]]}',
        b"[]",
        b'{"at":1e400,"body":""}',
    ]


TARGETS = (Target("capture", line, _seeds(), (*of_json.WORDS, *(f'"{name}":'.encode() for name in _FIELDS))),)
