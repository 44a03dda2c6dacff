"""CloudEvents: three content modes, tokens in one of two places, and a handshake that promises no more than it says."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ingest.adapters import build
from ingest.adapters.base import Adapter, Parsed, RefusedError, Request
from tests.ingest.adapters.requests import NOW, URL, refusal, request, signed
from tidegate.errors import UsageError

TOKEN = "ce-token-41b8e0"
VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "providers" / "vectors" / "cloudevents.json").read_text()
)
EVENT = {
    "specversion": "1.0",
    "id": "B234",
    "source": "/mycontext/4",
    "type": "com.example.someevent",
    "data": {"a": 1},
}
STRUCTURED = ("Content-Type", "application/cloudevents+json; charset=UTF-8")
BATCHED = ("Content-Type", "application/cloudevents-batch+json")
JSON = ("Content-Type", "application/json")
CE = {"ce-specversion": "1.0", "ce-id": "A1", "ce-source": "/mycontext", "ce-type": "com.example.someevent"}


@pytest.fixture
def adapter() -> Adapter:
    return build("cloudevents", [TOKEN])


def structured(adapter: Adapter, value: object, *headers: tuple[str, str]) -> list[Parsed]:
    return adapter.split(request(json.dumps(value).encode(), headers or [STRUCTURED]))


def binary(adapter: Adapter, body: bytes = b"", content_type: str = "application/json", **changed: str) -> Parsed:
    headers = CE | {f"ce-{name}": value for name, value in changed.items()}
    (event,) = adapter.split(
        request(body, [*headers.items(), *([("Content-Type", content_type)] if content_type else [])])
    )
    return event


def body_refused(adapter: Adapter, checked: Request) -> str:
    with pytest.raises(RefusedError) as caught:
        adapter.split(checked)
    assert caught.value.reason == "malformed_body"
    return caught.value.detail


# ---- What the project's own library sends


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["description"])
def test_each_vector_is_judged_and_what_is_authentic_is_read(adapter: Adapter, vector: dict[str, Any]) -> None:
    body = base64.b64decode(vector["body_base64"]) if "body_base64" in vector else vector["body"].encode()
    checked = request(body, vector["headers"], url=vector["url"])
    assert (refusal(adapter, checked, vector["at"]) is None) is vector["valid"]
    if vector["valid"]:
        for event in adapter.split(checked):
            held = json.loads(event.payload)
            assert event.malformed is None
            assert event.provider_event_id == f"{held['source']} {held['id']}"
            assert event.event_type == held["type"]


def test_both_modes_of_one_event_are_one_event(adapter: Adapter) -> None:
    """A sender that changes the mode, or a relay between us, must not make two of one."""
    by_name = {vector["description"]: vector for vector in VECTORS}
    one, other = (
        adapter.split(request(vector["body"].encode(), vector["headers"]))[0]
        for vector in (by_name["structured, JSON data"], by_name["binary, JSON data"])
    )
    assert (one.provider_event_id, one.event_type, one.key) == (other.provider_event_id, other.event_type, other.key)
    assert one.occurred_at_ms == other.occurred_at_ms == 1_790_000_000_000
    assert one.key == "subject:larger-context"
    assert json.loads(one.payload) == json.loads(other.payload)


# ---- Structured and batched


def test_an_event_keeps_its_bytes(adapter: Adapter) -> None:
    body = b' {"id":"1", "source":"/s",  "specversion":"1.0","type":"t", "time":null, "subject": null}\n'
    (event,) = adapter.split(request(body, [STRUCTURED]))
    assert event == Parsed("/s 1", "t", None, "", body)


def test_source_and_id_cannot_be_shifted_into_each_other(adapter: Adapter) -> None:
    """Two events with one id would lose the second."""
    pairs = [("a", "b c"), ("a b", "c"), ("a%20b", "c"), ("a%2520b", "c"), ("a", "b%20c")]
    ids = {structured(adapter, EVENT | {"source": source, "id": name})[0].provider_event_id for source, name in pairs}
    assert len(ids) == len(pairs)


def test_each_element_of_a_batch_stands_for_itself(adapter: Adapter) -> None:
    found = structured(adapter, [EVENT, EVENT | {"id": ""}, 7, EVENT | {"source": "/other"}], BATCHED)
    assert [event.malformed is None for event in found] == [True, False, False, True]
    assert json.loads(found[0].payload) == EVENT
    assert len({event.provider_event_id for event in found}) == 4
    assert structured(adapter, [], BATCHED) == []


@pytest.mark.parametrize(
    "changed",
    [
        *(
            {name: value}
            for name in ("id", "source", "type", "specversion")
            for value in (None, "", 1, "a\x00", "\ud800")
        ),
        {"specversion": "0.3"},
        {"specversion": "1.0.2"},
        {"type": "x" * 201},
        {"subject": 1},
        {"time": 1_786_321_600},
        {"data_base64": "AAAA"},
        {"source": "\ufffe"},
    ],
    ids=str,
)
def test_what_is_no_event_is_refused(adapter: Adapter, changed: dict[str, Any]) -> None:
    body_refused(adapter, request(json.dumps(EVENT | changed).encode(), [STRUCTURED]))


@pytest.mark.parametrize("encoded", ["?", "AAA", "\u00e9", 7])
def test_data_that_cannot_be_decoded_is_refused(adapter: Adapter, encoded: object) -> None:
    value = {name: held for name, held in EVENT.items() if name != "data"} | {"data_base64": encoded}
    assert "data_base64" in body_refused(adapter, request(json.dumps(value).encode(), [STRUCTURED]))


def test_a_time_that_is_no_time_does_not_cost_the_event(adapter: Adapter) -> None:
    assert structured(adapter, EVENT | {"time": "yesterday"})[0].occurred_at_ms is None
    assert structured(adapter, EVENT | {"time": "2018-04-05T17:31:00Z"})[0].occurred_at_ms == 1_522_949_460_000


@pytest.mark.parametrize(
    ("content_type", "body", "said"),
    [
        ("application/cloudevents+json", [EVENT], "not an object"),
        ("application/cloudevents-batch+json", EVENT, "not an array"),
        ("application/cloudevents-batch+avro", [EVENT], "format"),
        ("application/cloudevents+avro", EVENT, "format"),
        ("application/cloudevents", EVENT, "format"),
        ("application/json", EVENT, "no ce- header"),
    ],
)
def test_the_content_type_alone_chooses_the_mode(adapter: Adapter, content_type: str, body: object, said: str) -> None:
    checked = request(json.dumps(body).encode(), [("Content-Type", content_type)])
    assert said in body_refused(adapter, checked)


def test_formats_that_are_not_read_are_not_taken(adapter: Adapter) -> None:
    for taken in ("application/cloudevents+json", "application/cloudevents-batch+json", "application/json", "text/csv"):
        assert adapter.takes(taken)
    for other in ("application/cloudevents+avro", "application/cloudevents-batch+xml", "application/cloudevents"):
        assert not adapter.takes(other)


# ---- Binary


@pytest.mark.parametrize(
    ("content_type", "body", "stored"),
    [
        ("application/json", b'{"n": 1.10, "n": 2}', '"data": {"n": 1.10, "n": 2}'),
        ("text/json", b"null", '"data": null'),
        ("application/vnd.api+json; charset=utf-8", b' "a" ', '"data":  "a" '),
        ("application/xml", b"<a/>", '"data": "<a/>"'),
        ("Text/Plain; CharSet=UTF-8", "\u00e9\n".encode(), '"data": "\u00e9\\n"'),
        ("text/plain", b"\xff", '"data_base64": "/w=="'),
        ("text/plain", b"a\x00", '"data_base64": "YQA="'),
        ("text/plain; charset=utf-16", b"aa", '"data_base64": "YWE="'),
        ("application/x-www-form-urlencoded; charset=utf-8", b"a=1", '"data": "a=1"'),
        ("application/octet-stream", b"aa", '"data_base64": "YWE="'),
        ("", b'{"xyz": 1}', '"data_base64": "eyJ4eXoiOiAxfQ=="'),
    ],
)
def test_data_is_stored_as_structured_mode_has_it(
    adapter: Adapter, content_type: str, body: bytes, stored: str
) -> None:
    event = binary(adapter, body, content_type)
    attributes = {name.removeprefix("ce-"): value for name, value in CE.items()}
    if content_type:
        attributes["datacontenttype"] = content_type
    assert event.payload.decode() == json.dumps(attributes)[:-1] + f", {stored}}}"
    json.loads(event.payload)


def test_an_event_without_data_has_none(adapter: Adapter) -> None:
    assert "data" not in json.loads(binary(adapter).payload)
    assert json.loads(binary(adapter).payload)["datacontenttype"] == "application/json"
    assert "datacontenttype" not in json.loads(binary(adapter, content_type="").payload)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro \u20ac \U0001f600"),
        ("%c3%a9%41", "\u00e9A"),
        ("100%2525", "100%25"),
        ("100%", "100%"),
        ('"a \\"b\\" %C3%A9"', 'a "b" \u00e9'),
        ('a"b', 'a"b'),
    ],
)
def test_attributes_are_unquoted_and_decoded_once(adapter: Adapter, sent: str, read: str) -> None:
    event = binary(adapter, subject=sent)
    assert json.loads(event.payload)["subject"] == read
    assert event.key == f"subject:{read}"


@pytest.mark.parametrize(
    "sent", ["%C0%A0", "%FF", "%ED%A0%80", "a%00b", "%7F", '"a', '"a"b', '"', '""', "", "\u00e9", "%EF%BF%BE"]
)
def test_an_attribute_that_two_could_read_differently_is_refused(adapter: Adapter, sent: str) -> None:
    body_refused(adapter, request(b"{}", [*CE.items(), JSON, ("ce-subject", sent)]))


@pytest.mark.parametrize(
    "header",
    [
        ("ce-datacontenttype", "application/json"),
        ("ce-data", "1"),
        ("ce-data_base64", "AAAA"),
        ("ce-", "x"),
        ("ce-id", "A1"),
        JSON,
    ],
)
def test_what_could_stand_for_something_else_is_refused(adapter: Adapter, header: tuple[str, str]) -> None:
    body_refused(adapter, request(b"{}", [*CE.items(), JSON, header]))


@pytest.mark.parametrize("body", [b"nul", b'1}, {"a": 1', b"\xff", b'{"a": NaN}'])
def test_data_that_is_not_the_json_it_says_is_refused(adapter: Adapter, body: bytes) -> None:
    body_refused(adapter, request(body, [*CE.items(), JSON]))


@pytest.mark.parametrize("missing", sorted(CE))
def test_a_binary_event_needs_its_attributes(adapter: Adapter, missing: str) -> None:
    named = body_refused(adapter, request(b"{}", [*((n, v) for n, v in CE.items() if n != missing), JSON]))
    assert missing.removeprefix("ce-") in named


# ---- Tokens


@pytest.mark.parametrize(
    ("headers", "query", "reason"),
    [
        ([], "", "missing_secret"),
        ([("Authorization", "")], "", "wrong_scheme"),
        ([("Authorization", "Bearer ")], "", "missing_secret"),
        ([("Authorization", "Basic YTpi")], "", "wrong_scheme"),
        ([("Authorization", f"Bearer {TOKEN[:-1]}")], "", "bad_signature"),
        ([("Authorization", "Bearer \u00e9\u00ff")], "", "bad_signature"),
        ([("Authorization", f"Bearer {TOKEN}")], f"?access_token={TOKEN}", "malformed_signature"),
        ([("Authorization", f"Bearer {TOKEN}")] * 2, "", "duplicate_header"),
        ([], f"?access_token={TOKEN}&access_token={TOKEN}", "malformed_signature"),
        ([], "?access_token=%FF%C0", "bad_signature"),
        ([], f"?Access_Token={TOKEN}", "missing_secret"),
    ],
)
def test_a_token_that_is_none_is_refused_for_what_it_is(
    adapter: Adapter, headers: list[tuple[str, str]], query: str, reason: str
) -> None:
    assert refusal(adapter, request(b"{}", headers, url=URL + query)) == reason


def test_several_tokens_are_told_apart_wherever_they_stand() -> None:
    adapter = build("cloudevents", ["one", "tw\u00f6 &"])
    body = json.dumps(EVENT).encode()
    assert adapter.verify(request(body, [("Authorization", "BEARER one")]), NOW) == 0
    assert adapter.verify(request(body, [("Authorization", "Bearer tw\u00c3\u00b6 &")]), NOW) == 1
    assert adapter.verify(request(body, url=f"{URL}?access_token=tw%C3%B6+%26"), NOW) == 1
    assert adapter.verify(signed(build("cloudevents", ["tw\u00f6 &"]), body), NOW) == 1


@pytest.mark.parametrize(
    ("headers", "query", "said"),
    [
        ([], "", "none"),
        ([("Authorization", "x")], "", "bearer"),
        ([], "?access_token=1", "access_token"),
        ([("Authorization", "x")], "?a=b&access_token", "bearer+access_token"),
        ([], "?access_token=1" + "&a" * 1001, "none"),
    ],
)
def test_where_a_token_stands_is_told(adapter: Adapter, headers: list[tuple[str, str]], query: str, said: str) -> None:
    checked = request(b"{}", headers, url=URL + query)
    assert adapter.scheme(checked) == said
    assert adapter.clock_difference(checked, NOW) is None
    assert refusal(adapter, checked) is not None


def test_a_token_with_its_newline_can_be_tried_without() -> None:
    trimmed = build("cloudevents", [f"{TOKEN}\n"]).trimmed()
    assert trimmed is not None
    assert trimmed.verify(request(b"", [("Authorization", f"Bearer {TOKEN}")]), NOW) == 0
    assert build("cloudevents", [TOKEN]).trimmed() is None


@pytest.mark.parametrize(
    ("body", "headers", "content_type"),
    [
        (b"{}", [], "application/cloudevents+json"),
        (b" []", [], "application/cloudevents-batch+json"),
        (b"{}", [("CE-id", "1")], "application/json"),
        (b"<a/>", [("CE-id", "1"), ("content-type", "text/xml")], "text/xml"),
    ],
)
def test_what_is_sent_by_hand_says_its_mode(
    adapter: Adapter, body: bytes, headers: list[tuple[str, str]], content_type: str
) -> None:
    made, _ = adapter.sign(body, url=URL, now_seconds=NOW, message_id="m", headers=headers)
    assert [value for name, value in made if name.lower() == "content-type"] == [content_type]
    assert ("Authorization", f"Bearer {TOKEN}") in made


# ---- The handshake


def asked(adapter: Adapter, *headers: tuple[str, str], method: str = "OPTIONS") -> dict[str, str] | None:
    reply = adapter.greeting(request(b"", headers, method=method), NOW)
    if reply is None:
        return None
    assert (reply.status, reply.body) == (200, b"")
    return dict(reply.headers)


ORIGIN = ("WebHook-Request-Origin", "eventemitter.example.com")


def test_a_sender_that_asks_may_deliver(adapter: Adapter) -> None:
    granted = {"Allow": "POST", "WebHook-Allowed-Origin": "eventemitter.example.com", "WebHook-Allowed-Rate": "*"}
    assert asked(adapter, ORIGIN) == granted
    callback = ("WebHook-Request-Callback", "https://evil.example/?key=1")
    assert asked(adapter.at_rate(2.5), ORIGIN, ("WebHook-Request-Rate", "1000"), callback) == granted | {
        "WebHook-Allowed-Rate": "150"
    }
    assert asked(adapter.at_rate(0.001), ORIGIN) == granted | {"WebHook-Allowed-Rate": "1"}
    assert asked(adapter.at_rate(7).at_rate(None), ORIGIN) == granted


@pytest.mark.parametrize(
    "origins", [[], [("webhook-request-origin", "a.example"), ORIGIN], [("webhook-request-origin", "*")]]
)
def test_no_permission_is_given_to_nobody_several_or_everybody(
    adapter: Adapter, origins: list[tuple[str, str]]
) -> None:
    assert asked(adapter, *origins) is None


@pytest.mark.parametrize("origin", ["", "a b", "a\r\nX: y", "\u00e9.example", "a..b", "a/b", "x" * 254, "-a", "a:80"])
def test_what_is_no_dns_name_is_not_echoed(adapter: Adapter, origin: str) -> None:
    assert asked(adapter, ("WebHook-Request-Origin", origin)) is None


def test_only_the_named_origins_are_let_in_where_some_are_named() -> None:
    adapter = build("cloudevents", [TOKEN], options={"allowed_origins": ["Good.example"]})
    assert asked(adapter, ORIGIN) is None
    found = asked(adapter, ("WebHook-Request-Origin", "gOOD.example"))
    assert found is not None
    assert found["WebHook-Allowed-Origin"] == "gOOD.example"
    assert asked(build("cloudevents", [TOKEN], options={"allowed_origins": []}), ORIGIN) is None


def test_a_delivery_that_names_its_origin_is_no_handshake(adapter: Adapter) -> None:
    assert asked(adapter, ORIGIN, method="POST") is None


@pytest.mark.parametrize(
    "options", [{"allowed_origins": "a.example"}, {"allowed_origins": [1]}, {"allowed_origins": ["*"]}, {"origins": []}]
)
def test_options_that_would_not_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="origins"):
        build("cloudevents", [TOKEN], options=options)
