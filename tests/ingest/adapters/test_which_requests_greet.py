"""Which requests are handshakes: the conditions in headers and those in the body, together and as alternatives."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.adapters import build
from ingest.adapters.base import Adapter, RefusedError
from tests.ingest.adapters.requests import NOW, request
from tidegate import jsontext


def adapter(**when: str) -> Adapter:
    handshake: dict[str, Any] = {
        "signed": False,
        "when": {name.replace("__", ":"): value for name, value in when.items()},
    }
    own = {
        "acme": {
            "signature": {"kind": "hmac", "header": "X-Acme-Signature"},
            "handshakes": [handshake | {"text": "challenge"}],
        }
    }
    return build("acme", ["secret"], own=own)


def greeted(asked: Adapter, body: bytes, **headers: str) -> bytes | None:
    reply = asked.greeting(request(body, headers.items()), NOW)
    return None if reply is None else reply.body


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b'{"type": "hello", "challenge": "c"}', {"kind": "handshake"}, b"c"),
        (b'{"type": "hello", "challenge": "c"}', {"kind": "event"}, None),
        (b'{"type": "hello", "challenge": "c"}', {}, None),
        (b'{"type": "other", "challenge": "c"}', {"kind": "handshake"}, None),
        (b'["hello"]', {"kind": "handshake"}, None),
        (b'"hello"', {"kind": "handshake"}, None),
        (b"hello", {"kind": "handshake"}, None),
    ],
)
def test_a_handshake_meets_every_condition(body: bytes, headers: dict[str, str], expected: bytes | None) -> None:
    assert greeted(adapter(header__kind="handshake", type="hello"), body, **headers) == expected


@pytest.mark.parametrize("value", ["type | header:kind", "header:kind | type"])
def test_a_condition_may_be_met_in_the_header_or_in_the_body(value: str) -> None:
    asked = adapter(**{value: "hello"})
    assert greeted(asked, b'{"challenge": "c"}', kind="hello") == b"c"
    assert greeted(asked, b'{"type": "hello", "challenge": "c"}') == b"c"
    assert greeted(asked, b'{"type": "other", "challenge": "c"}') is None


def test_a_handshake_known_by_its_header_is_answered_from_its_body() -> None:
    assert greeted(adapter(header__kind="hello"), b'{"challenge": "c"}', kind="hello") == b"c"


def test_a_ping_known_by_its_header_alone_need_be_no_json() -> None:
    own = {
        "acme": {
            "signature": {"kind": "hmac", "header": "X-Acme-Signature"},
            "handshakes": [{"signed": False, "when": {"header:kind": "ping"}}],
        }
    }
    asked = build("acme", ["secret"], own=own)
    assert greeted(asked, b"webhook_id=7", kind="ping") == b""
    assert greeted(asked, b"webhook_id=7", kind="event") is None


@pytest.mark.parametrize("body", [b"hello", b"", b'{"other": "c"}'])
def test_without_what_is_to_be_echoed_a_handshake_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError) as raised:
        greeted(adapter(header__kind="hello"), body, kind="hello")
    assert raised.value.reason == "malformed_body"


def test_a_header_that_occurs_twice_makes_no_handshake() -> None:
    twice = request(b'{"challenge": "c"}', [("kind", "hello"), ("kind", "hello")])
    assert adapter(header__kind="hello").greeting(twice, NOW) is None


def test_a_body_is_not_parsed_before_its_headers_say_that_it_may_be_a_handshake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else every event of such a provider would be parsed twice, and those of strangers once."""
    parsed: list[bytes] = []
    read = jsontext.loads

    def noted(raw: bytes) -> Any:
        parsed.append(raw)
        return read(raw)

    monkeypatch.setattr(jsontext, "loads", noted)
    asked = adapter(header__kind="hello")
    assert greeted(asked, b'{"challenge": "c"}', kind="event") is None
    assert parsed == []
    assert greeted(asked, b'{"challenge": "c"}', kind="hello") == b"c"
    assert len(parsed) == 1
