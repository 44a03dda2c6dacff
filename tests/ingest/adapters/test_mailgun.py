"""Mailgun: a signature in the body is read in one way only, and a request that was seen brings no second event."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.adapters import build
from ingest.adapters.base import Parsed
from tests.ingest.adapters.requests import NOW, any_text, json_values, only_refuses, refusal, request, signed
from tidegate.errors import UsageError

KEY = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
PARENT = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
SIGNED_AT = str(int(NOW))
TOKEN_TEXT = "c0ffee" * 8 + "42"
HOURS = 3600
adapter = build("mailgun", [KEY])


def proof(timestamp: str = SIGNED_AT, token: str = TOKEN_TEXT, *, key: str = KEY) -> str:
    return hmac.new(key.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()


def block(**fields: Any) -> dict[str, Any]:
    return {"timestamp": SIGNED_AT, "token": TOKEN_TEXT, "signature": proof(), **fields}


def body_of(signature: object, **happened: Any) -> bytes:
    data = {"event": "opened", "id": "e1", "timestamp": 1_789_000_000.25, "recipient": "ada@example.com", **happened}
    return json.dumps({"signature": signature, "event-data": data}).encode()


def split_one(body: bytes) -> Parsed:
    [found] = adapter.split(request(body))
    return found


def test_a_signature_of_time_and_token_lets_in() -> None:
    assert refusal(adapter, request(body_of(block()))) is None
    swapped = b'{"event-data": {}, "signature": %s}' % json.dumps(block()).encode()
    assert refusal(adapter, request(swapped)) is None
    escaped = body_of(block()).replace(b'"signature": {', b'"sign\\u0061ture": {')
    assert refusal(adapter, request(escaped)) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"token": "d" * 50},
        {"timestamp": str(int(NOW) + 1)},
        {"signature": proof().upper()},
        {"signature": proof()[:-1]},
        {"signature": proof(key="key-of-the-api")},
        {"signature": hmac.new(KEY.encode(), f"{SIGNED_AT}.{TOKEN_TEXT}".encode(), hashlib.sha256).hexdigest()},
        {"signature": hmac.new(KEY.encode(), (TOKEN_TEXT + SIGNED_AT).encode(), hashlib.sha256).hexdigest()},
        {"signature": "é"},
    ],
)
def test_any_change_of_what_is_signed_is_refused(changed: dict[str, Any]) -> None:
    assert refusal(adapter, request(body_of(block(**changed)))) == "bad_signature"


@pytest.mark.parametrize("name", ["timestamp", "token", "signature"])
@pytest.mark.parametrize("value", [None, 1_789_000_000, 1.5, True, {"$ne": None}, ["x"], ""])
def test_what_is_signed_is_text_and_nothing_that_looks_like_it(name: str, value: object) -> None:
    assert refusal(adapter, request(body_of(block(**{name: value})))) == "malformed_signature"


@pytest.mark.parametrize("name", ["timestamp", "token", "signature"])
def test_a_part_of_the_signature_that_is_missing_is_refused(name: str) -> None:
    found = block()
    del found[name]
    assert refusal(adapter, request(body_of(found))) == "malformed_signature"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed_signature"),
        (b"not json", "malformed_signature"),
        (b"\xff{}", "malformed_signature"),
        (b'{"a":' * 100_000, "malformed_signature"),
        (b"[]", "missing_secret"),
        (b"{}", "missing_secret"),
        (b'{"event-data": {"signature": %s}}' % json.dumps(block()).encode(), "missing_secret"),
        (b'{"signature": null}', "malformed_signature"),
        (b'{"signature": {}}', "malformed_signature"),
        (b'{"signature": "x"}', "malformed_signature"),
        (b'{"signature": [%s]}' % json.dumps(block()).encode(), "malformed_signature"),
        (b'{"signature": %s, "signature": {}}' % json.dumps(block()).encode(), "malformed_signature"),
        (b'{"signature": {}, "sign\\u0061ture": %s}' % json.dumps(block()).encode(), "malformed_signature"),
        (body_of(block()).replace(b'"token"', b'"token": "x", "token"'), "malformed_signature"),
        (body_of(block(token="t" * 201)), "malformed_signature"),
    ],
)
def test_a_signature_that_two_readers_could_read_differently_is_refused(body: bytes, reason: str) -> None:
    """With 401 each time: 406 would end Mailgun's repetitions, and what a stranger sends must not."""
    assert refusal(adapter, request(body)) == reason


@pytest.mark.parametrize(
    "timestamp", ["", "1e9", "-1", "+1789000000", "1789000000.0", "NaN", " 1789000000", "１７８９"]
)
def test_a_time_that_is_not_digits_alone_is_refused(timestamp: str) -> None:
    found = block(timestamp=timestamp, signature=proof(timestamp))
    assert refusal(adapter, request(body_of(found))) == "malformed_signature"


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        (0, None),
        (7.75 * HOURS, None),
        (8.2 * HOURS, "stale"),
        (7 * 24 * HOURS, "stale"),
        (-300, None),
        (-301, "future"),
    ],
)
def test_a_repetition_is_taken_for_as_long_as_mailgun_repeats(later: float, reason: str | None) -> None:
    assert refusal(adapter, request(body_of(block())), NOW + later) == reason


@pytest.mark.parametrize("moved", [(SIGNED_AT[:-1], SIGNED_AT[-1] + TOKEN_TEXT), (SIGNED_AT + "7", TOKEN_TEXT)])
def test_a_digit_that_moves_between_time_and_token_makes_a_time_out_of_bounds(moved: tuple[str, str]) -> None:
    """Nothing stands between the two in what is signed, so the signature itself stays good."""
    timestamp, token = moved
    found = block(timestamp=timestamp, token=token, signature=proof(timestamp, token))
    assert refusal(adapter, request(body_of(found))) in ("stale", "future")


def test_events_of_a_sub_account_are_verified_by_either_key() -> None:
    found = body_of(block(**{"parent-signature": proof(key=PARENT)}))
    assert refusal(adapter, request(found)) is None
    assert refusal(build("mailgun", [PARENT]), request(found)) is None
    assert build("mailgun", ["another", PARENT]).verify(request(found), NOW) == 1
    assert refusal(build("mailgun", ["another"]), request(found)) == "bad_signature"
    odd = body_of(block(**{"parent-signature": 5}))
    assert refusal(adapter, request(odd)) == "malformed_signature"


def test_a_request_seen_by_a_stranger_brings_no_second_event() -> None:
    """What happened is not signed, but the token is: whatever is put beside it has the id of what was sent first."""
    true, false = body_of(block()), body_of(block(), recipient="mallory@example.com", event="complained")
    assert refusal(adapter, request(false)) is None
    assert split_one(true).provider_event_id == split_one(false).provider_event_id == TOKEN_TEXT


def test_an_event_keeps_its_bytes_type_time_and_key() -> None:
    body = body_of(block(), message={"headers": {"message-id": "m1@example.com"}}, event="failed", severity="permanent")
    found = split_one(body)
    assert (found.payload, found.event_type, found.key) == (body, "failed", "message:m1@example.com")
    assert found.occurred_at_ms == 1_789_000_000_250


def test_what_is_sent_by_us_verifies_and_the_same_message_has_the_same_token() -> None:
    once, again, other = (
        signed(adapter, b'{"event-data": {"event": "opened"}, "signature": 1}', message_id=name) for name in "aab"
    )
    assert refusal(adapter, once) is None
    ids = [split_one(made.body).provider_event_id for made in (once, again, other)]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) == 50
    with pytest.raises(UsageError, match="JSON object"):
        signed(adapter, b"[]")


def test_what_only_looks_says_when_it_was_signed() -> None:
    assert adapter.clock_difference(request(body_of(block())), NOW + 5) == 5
    assert adapter.clock_difference(request(b"{"), NOW) is None
    assert adapter.scheme(request(body_of(block()))) == "body signature"
    assert adapter.scheme(request(b"{}")) == "none"


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "signature": json_values(["timestamp", "token", "signature", "parent-signature"])
            | st.fixed_dictionaries(dict.fromkeys(("timestamp", "token", "signature"), any_text)),
            "event-data": json_values(["event", "timestamp", "message", "recipient"]),
        },
    )
)
def test_hostile_bodies_are_refused_and_nothing_else_happens(value: object) -> None:
    only_refuses(adapter, request(json.dumps(value).encode("utf-8", "surrogatepass")))
