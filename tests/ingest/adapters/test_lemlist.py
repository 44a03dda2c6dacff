"""Lemlist: the secret in the body lets in who knows it, and is gone before anything is stored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.adapters import build
from ingest.adapters.base import Parsed, RefusedError
from tests.ingest.adapters.requests import any_text, json_values, only_refuses, refusal, request, signed
from tidegate import jsontext
from tidegate.errors import UsageError

SECRET = "whk_3f9a1c77d2"
adapter = build("lemlist", [SECRET])


def activity(**fields: Any) -> dict[str, Any]:
    return {
        "_id": "act_1",
        "type": "emailsOpened",
        "createdAt": "2026-08-10T00:41:42.035Z",
        "campaignId": "cam_1",
        "leadId": "lea_1",
        "secret": SECRET,
        **fields,
    }


def body_of(**fields: Any) -> bytes:
    return json.dumps(activity(**fields)).encode()


def split_one(body: bytes) -> Parsed:
    [found] = adapter.split(request(body))
    return found


@pytest.mark.parametrize(
    "body",
    [
        body_of(),
        body_of(subject='Re: "Zoë" \\ 🚀'),
        b'{"secret":"%s"}' % SECRET.encode(),
        b' {\r\n "secret" : "%s" , "a" : [ ] } ' % SECRET.encode(),
        b'{"secret":"\\u0077hk_3f9a1c77d2","_id":"a"}',
        b'{"s\\u0065cret":"%s","_id":"a"}' % SECRET.encode(),
        b'{"nested":{"secret":"other"},"secret":"%s"}' % SECRET.encode(),
    ],
)
def test_who_knows_the_secret_is_let_in(body: bytes) -> None:
    assert refusal(adapter, request(body)) is None


def test_either_secret_verifies_while_a_hook_is_replaced() -> None:
    assert refusal(build("lemlist", ["newer", SECRET]), request(body_of())) is None
    assert refusal(build("lemlist", ["newer"]), request(body_of())) == "bad_signature"


def test_a_secret_that_is_not_ascii_verifies() -> None:
    assert refusal(build("lemlist", ["schlüssel"]), request(body_of(secret="schlüssel"))) is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed_body"),
        (b"[]", "malformed_body"),
        (b"null", "malformed_body"),
        (b"not json", "malformed_body"),
        (b"\xff\xfe{}", "malformed_body"),
        (b'{"a":' * 100_000, "malformed_body"),
        (b'{"secret":"%s"' % SECRET.encode(), "malformed_body"),
        (b"{}", "missing_secret"),
        (b'{"data":{"secret":"%s"}}' % SECRET.encode(), "missing_secret"),
        (b'{"secret":null}', "malformed_signature"),
        (b'{"secret":["%s"]}' % SECRET.encode(), "malformed_signature"),
        (b'{"secret":true}', "malformed_signature"),
        (b'{"secret":%s}' % (b"7" * 10_000), "malformed_signature"),
        (b'{"secret":"%s","secret":"%s"}' % (SECRET.encode(), SECRET.encode()), "malformed_signature"),
        (b'{"secret":"no","s\\u0065cret":"%s"}' % SECRET.encode(), "malformed_signature"),
        (b'{"secret":""}', "bad_signature"),
        (b'{"secret":"nope"}', "bad_signature"),
        (b'{"secret":"%s "}' % SECRET.encode(), "bad_signature"),
        (b'{"secret":"\\ud800\\u0000\xc3\xa9"}', "bad_signature"),
    ],
)
def test_who_does_not_is_refused(body: bytes, reason: str) -> None:
    assert refusal(adapter, request(body)) == reason


def test_a_get_without_a_body_is_refused() -> None:
    assert refusal(adapter, request(b"", method="GET")) == "malformed_body"


def test_an_activity_is_read() -> None:
    assert split_one(body_of()) == Parsed(
        provider_event_id="act_1",
        event_type="emailsOpened",
        occurred_at_ms=1_786_322_502_035,
        key="lead:lea_1",
        payload=json.dumps({name: value for name, value in activity().items() if name != "secret"}).encode(),
    )


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b'{"_id":"a","secret":"%s","n":1.50}', b'{"_id":"a","n":1.50}'),
        (b'{\n  "_id": "a",\n  "secret": "%s"\n}\n', b'{\n  "_id": "a"\n}\n'),
        (b'{"secret":"%s","_id":"a","big":12345678901234567890123}', b'{"_id":"a","big":12345678901234567890123}'),
        (b'{"secret":"%s","_id":"a","e":1E400,"u":"\\u00e9\\/"}', b'{"_id":"a","e":1E400,"u":"\\u00e9\\/"}'),
        (b'{"_id":"a","x":{"secret":"%s"},"secret":"%s"}', b'{"_id":"a","x":{"secret":"***"}}'),
        (b'{"_id":"a","x":["see %s!", "\\n"],"secret":"%s"}', b'{"_id":"a","x":["see ***!", "\\n"]}'),
        (b'{"_id":"a","%s":1.0,"secret":"%s"}', b'{"_id":"a","***":1.0}'),
    ],
)
def test_the_secret_is_gone_and_every_other_byte_as_received(body: bytes, payload: bytes) -> None:
    found = split_one(body.replace(b"%s", SECRET.encode()))
    assert found.payload == payload


def test_an_escaped_copy_of_the_secret_is_masked_too() -> None:
    escaped = "".join(f"\\u{ord(char):04x}" for char in SECRET).encode()
    found = split_one(b'{"_id":"a","deep":{"%s":["%s",1.0]},"secret":"%s"}' % (escaped, escaped, SECRET.encode()))
    assert found.payload == b'{"_id":"a","deep":{"***":["***",1.0]}}'


@pytest.mark.parametrize("secrets", [["abcd", "abcdefgh"], ["abcdefgh", "abcd"]])
def test_of_a_secret_that_begins_as_another_does_no_end_is_stored(secrets: list[str]) -> None:
    rotating = build("lemlist", secrets)
    [found] = rotating.split(request(b'{"_id":"a","copy":"<abcdefgh>","secret":"abcd"}'))
    assert found.payload == b'{"_id":"a","copy":"<***>"}'


@settings(deadline=None)  # a busy machine is no failure
@given(json_values(["secret", "a", "b"]), st.booleans())
def test_no_copy_of_the_secret_is_ever_stored(value: object, ascii_only: bool) -> None:
    text = json.dumps({"_id": "a", "held": value, "copy": [SECRET, {SECRET: SECRET}], "secret": SECRET})
    if not ascii_only:
        text = text.replace("_", "\\u005f").replace('"\\u005fid"', '"_id"')
    found = split_one(text.replace("Infinity", "0").replace("NaN", "0").encode())
    assert SECRET not in json.dumps(json.loads(found.payload))
    assert json.loads(found.payload)["copy"] == ["***", {"***": "***"}]


@pytest.mark.parametrize(
    "secret",
    [
        'with "quotes"',
        "back\\slash",
        "\\",
        "ends\\",
        "a/b",
        "n",
        "u0061",
        "tab\there",
        "schlüssel",
        "🔑",
        "*",
        "a.b|(c",
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_secret_of_any_characters_is_masked_however_it_is_written(secret: str, ascii_only: bool) -> None:
    """And what only looks like it, as the n of a line break does, stays."""
    held = [
        secret,
        f"{secret}{secret}",
        f"x{secret}y",
        {secret: f"\\{secret}\n"},
        "\n \\n \\\\n \\u0061 / \t",
        "\\\\",
        None,
        1,
    ]
    text = json.dumps({"_id": "1", "held": held, "secret": secret}, ensure_ascii=ascii_only).replace("/", "\\/")
    found = build("lemlist", [secret]).split(request(text.encode()))[0]
    assert json.loads(found.payload)["held"] == _masked(held, secret)


def _masked(value: Any, secret: str) -> Any:
    if isinstance(value, list):
        return [_masked(item, secret) for item in value]
    if isinstance(value, dict):
        return {_masked(name, secret): _masked(item, secret) for name, item in value.items()}
    return value.replace(secret, "***") if isinstance(value, str) else value


def test_a_body_of_whom_we_do_not_know_is_not_walked_member_by_member(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two megabytes of them took a second, in which the gate answered nobody else."""
    monkeypatch.setattr(jsontext, "_members", lambda _text: pytest.fail("walked"))
    assert refusal(adapter, request(b'{"\\u0061":1,"secret":"no"}')) == "bad_signature"
    assert refusal(adapter, request(b'{"secret":1,"secret":{"secret":2}}')) == "malformed_signature"
    assert refusal(adapter, request(b'{"a":{"secret":1},"b":"\\u0073"}')) == "missing_secret"


@pytest.mark.parametrize("named", [None, "", ["act_1"], True])
def test_an_activity_without_an_id_is_refused(named: object) -> None:
    with pytest.raises(RefusedError) as caught:
        adapter.split(request(body_of(_id=named)))
    assert caught.value.reason == "no_event_id"


@pytest.mark.parametrize("named", ["x" * 201, "a\x00", "\ud800"])
def test_an_id_that_cannot_be_stored_is_hashed_the_same_each_time(named: str) -> None:
    first, second = split_one(body_of(_id=named)), split_one(body_of(_id=named, isFirst=True))
    assert first.provider_event_id == second.provider_event_id
    assert first.provider_event_id.startswith("sha256:")


def test_unknown_types_are_kept() -> None:
    assert split_one(body_of(type="entityUnsubscribed")).event_type == "entityUnsubscribed"
    untyped = activity()
    del untyped["type"]
    found = split_one(json.dumps(untyped).encode())
    assert (found.event_type, found.malformed) == ("unknown", None)


@pytest.mark.parametrize("kind", ["", [], "x" * 201, "a\x00", "\ud800"])
def test_a_type_that_is_none_makes_a_letter(kind: object) -> None:
    found = split_one(body_of(type=kind))
    assert found.event_type == "unknown"
    assert found.malformed


@pytest.mark.parametrize(
    ("created", "ms"),
    [
        ("2026-08-10T00:41:42.035Z", 1_786_322_502_035),
        ("2026-08-10T02:41:42.0359+02:00", 1_786_322_502_035),
        ("2026-08-10T00:41:42", 1_786_322_502_000),
        ("yesterday", None),
        (1_786_322_502, 1_786_322_502_000),
        (None, None),
        ("9999-12-31T23:59:59-14:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("2026-08-10T00:41:42." + "0" * 100, None),
    ],
)
def test_a_time_that_cannot_be_read_is_left_out(created: object, ms: int | None) -> None:
    assert split_one(body_of(createdAt=created)).occurred_at_ms == ms


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({}, "lead:lea_1"),
        ({"leadId": None}, "campaign:cam_1"),
        ({"leadId": "", "campaignId": ""}, ""),
        ({"leadId": ["x"], "campaignId": True}, ""),
    ],
)
def test_the_key_is_the_lead_or_else_the_campaign(fields: dict[str, Any], key: str) -> None:
    assert split_one(body_of(**fields)).key == key


@pytest.mark.parametrize(
    "value",
    ['"\\u0000"', '"\\ud800"', '"%s"' % ("x" * 1_048_576), "7" * 10_000, "[" * 200 + "]" * 200],
    ids=["nul", "surrogate", "1MiB", "10000 digits", "200 deep"],
)
def test_odd_values_pass_through_with_their_bytes(value: str) -> None:
    body = b'{"_id":"a","odd":%s,"secret":"%s"}' % (value.encode(), SECRET.encode())
    assert refusal(adapter, request(body)) is None
    assert split_one(body).payload == b'{"_id":"a","odd":%s}' % value.encode()


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b"{}", b'{"secret":"%s"}'),
        (b' { "_id": "a" } \n', b' { "_id": "a" ,"secret":"%s"}'),
        (b'{"secret":"another","_id":"a"}', b'{"_id":"a","secret":"%s"}'),
    ],
)
def test_what_we_sign_is_what_lemlist_would_send(body: bytes, sent: bytes) -> None:
    made = signed(adapter, body)
    assert made.body == sent % SECRET.encode()
    assert refusal(adapter, made) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{"])
def test_what_lemlist_would_not_send_is_not_signed(body: bytes) -> None:
    with pytest.raises(UsageError):
        signed(adapter, body)


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.binary(max_size=60)
    | json_values(["_id", "type", "createdAt", "leadId", "campaignId", "secret"]).map(
        lambda value: json.dumps(value).encode()
    ),
    any_text,
)
def test_hostile_requests_are_refused_and_break_nothing(body: bytes, header: str) -> None:
    only_refuses(adapter, request(body, [("content-type", header)]))
