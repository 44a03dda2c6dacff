"""HubSpot: no forged or replayed request passes, no element of an array is lost or doubled."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hubspot.utils.signature import Signature
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.adapters.base import Parsed, RefusedError, Request, content_id
from ingest.adapters.hubspot import HubSpotAdapter, WorkflowFields, decode_escapes
from tests.ingest.adapters.requests import (
    NOW,
    URL,
    header_text,
    json_values,
    only_refuses,
    refusal,
    request,
    signed,
    with_header,
)

SECRET = "2f6c1c1e-58f5-4a2c-9d7e-6f0d7a9f1b23"
MS = str(int(NOW * 1000))
adapter = HubSpotAdapter([SECRET])


def event(**fields: Any) -> dict[str, Any]:
    return {
        "eventId": 7,
        "subscriptionId": 42,
        "portalId": 62515,
        "appId": 1,
        "occurredAt": 1_784_534_400_000,
        "subscriptionType": "contact.propertyChange",
        "attemptNumber": 0,
        "objectId": 123,
        "propertyName": "email",
        "propertyValue": "ada@example.com",
        **fields,
    }


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def split_one(value: object) -> Parsed:
    [found] = adapter.split(request(compact([value])))
    return found


def by_sdk(body: str, version: str, *, url: str = URL, method: str = "POST", timestamp: str = MS) -> Request:
    signature = Signature.get_signature(SECRET, body, version, url, method, timestamp)
    headers = (
        [("X-HubSpot-Signature-v3", signature), ("X-HubSpot-Request-Timestamp", timestamp)]
        if version == "v3"
        else [("X-HubSpot-Signature", signature), ("X-HubSpot-Signature-Version", version)]
    )
    return request(body.encode(), headers, method=method, url=url)


BODY = compact([event()]).decode()


# HubSpot's documentation prints these three with the secret, URL and body they are made of.
PUBLISHED = HubSpotAdapter(["yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"])
PUBLISHED_URL = "https://www.example.com/webhook_uri"


@pytest.mark.parametrize(
    ("version", "method", "body", "signature"),
    [
        (
            "v1",
            "POST",
            b'[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,'
            b'"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM",'
            b'"changeFlag":"NEW","appId":54321}]',
            "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de",
        ),
        ("v2", "GET", b"", "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"),
        (
            "v2",
            "POST",
            b'{"example_field":"example_value"}',
            "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900",
        ),
    ],
)
def test_the_published_answers_verify(version: str, method: str, body: bytes, signature: str) -> None:
    headers = [("X-HubSpot-Signature", signature), ("X-HubSpot-Signature-Version", version)]
    assert refusal(PUBLISHED, request(body, headers, method=method, url=PUBLISHED_URL)) is None


@pytest.mark.parametrize(
    ("timestamp", "signature"),
    [
        ("15000000", "HPW73RUtKmcYoEDADG0s6MmGFWUzWJKAW07r8RDgcQw="),
        ("1693657560000", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
    ],
)
def test_the_v3_answers_of_the_official_clients_tests_verify(timestamp: str, signature: str) -> None:
    headers = [("X-HubSpot-Signature-v3", signature), ("X-HubSpot-Request-Timestamp", timestamp)]
    captured = request(b"{'example_field':'example_value'}", headers, url=PUBLISHED_URL)
    assert refusal(PUBLISHED, captured, int(timestamp) / 1000) is None


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
@pytest.mark.parametrize("body", [BODY, "", '{"name":"Zoë 🚀"}', "[\r\n]\r\n"])
def test_what_the_sdk_signs_verifies(version: str, body: str) -> None:
    assert refusal(adapter, by_sdk(body, version)) is None
    assert refusal(adapter, by_sdk(body, version, url=URL + "?a=1&b=%20", method="PUT")) is None


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_a_byte_changed_in_the_body_is_refused(version: str) -> None:
    captured = by_sdk(BODY, version)
    assert refusal(adapter, request(captured.body + b" ", captured.headers)) == "bad_signature"


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_another_url_or_method_is_refused(version: str) -> None:
    captured = by_sdk(BODY, version)
    for changed in (
        request(captured.body, captured.headers, url=URL + "?admin=1"),
        request(captured.body, captured.headers, url=URL.replace("https", "http")),
        request(captured.body, captured.headers, method="PUT"),
    ):
        assert refusal(adapter, changed) == "bad_signature"


def test_a_zero_cannot_be_moved_from_the_url_to_the_time_that_is_signed_right_behind_it() -> None:
    captured = by_sdk("", "v3", url=URL + "?eventId=120", method="GET")
    assert refusal(adapter, captured) is None
    moved = with_header(captured, "X-HubSpot-Request-Timestamp", "0" + MS)
    assert refusal(adapter, replace(moved, url=URL + "?eventId=12")) == "malformed_signature"


def test_either_secret_verifies_while_one_is_rotated() -> None:
    rotating = HubSpotAdapter(["new", SECRET])
    for version in ("v1", "v2", "v3"):
        assert refusal(rotating, by_sdk(BODY, version)) is None
    assert refusal(HubSpotAdapter(["new", "newer"]), by_sdk(BODY, "v3")) == "bad_signature"


@pytest.mark.parametrize(
    ("v3", "reason"), [("", "missing_header"), ("AAAA", "bad_signature"), ("é\udc80\x00", "bad_signature")]
)
def test_a_bad_v3_is_not_rescued_by_a_good_v1(v3: str, reason: str) -> None:
    both = with_header(by_sdk(BODY, "v1"), "X-HubSpot-Request-Timestamp", MS)
    assert refusal(adapter, with_header(both, "X-HubSpot-Signature-v3", v3)) == reason


@pytest.mark.parametrize(
    ("off_ms", "reason"), [(300_000, None), (-300_000, None), (-300_001, "stale"), (300_001, "future")]
)
def test_a_request_is_good_for_five_minutes_either_way(off_ms: int, reason: str | None) -> None:
    assert refusal(adapter, by_sdk(BODY, "v3", timestamp=str(int(MS) + off_ms))) == reason


def test_a_timestamp_in_seconds_is_stale() -> None:
    assert refusal(adapter, by_sdk(BODY, "v3", timestamp=MS[:-3])) == "stale"


@pytest.mark.parametrize(
    "timestamp",
    ["NaN", "1e12", MS + ".0", "+" + MS, "-1", " " + MS, MS + "\n", "1_789", "１７８９０００００００００", "9" * 17],
)
def test_a_timestamp_that_is_no_plain_integer_is_refused_even_if_signed(timestamp: str) -> None:
    assert refusal(adapter, by_sdk(BODY, "v3", timestamp=timestamp)) == "malformed_signature"


@pytest.mark.parametrize(
    ("version", "dropped", "reason"),
    [
        ("v3", "X-HubSpot-Request-Timestamp", "missing_header"),
        ("v3", "X-HubSpot-Signature-v3", "missing_header"),
        ("v1", "X-HubSpot-Signature", "missing_header"),
        ("v1", "X-HubSpot-Signature-Version", "missing_header"),
    ],
)
def test_a_missing_header_is_named(version: str, dropped: str, reason: str) -> None:
    assert refusal(adapter, with_header(by_sdk(BODY, version), dropped, None)) == reason


@pytest.mark.parametrize("version", ["v3", "V1", "v4", "1"])
def test_an_unknown_version_is_refused(version: str) -> None:
    captured = with_header(by_sdk(BODY, "v1"), "X-HubSpot-Signature-Version", version)
    assert refusal(adapter, captured) == "wrong_scheme"


@pytest.mark.parametrize("version", ["v1", "v3"])
def test_a_header_that_occurs_twice_is_refused(version: str) -> None:
    captured = by_sdk(BODY, version)
    for pair in captured.headers:
        assert refusal(adapter, request(captured.body, [*captured.headers, pair])) == "duplicate_header"


def test_signatures_in_another_spelling_are_refused() -> None:
    v1, v3 = by_sdk(BODY, "v1"), by_sdk(BODY, "v3")
    hexed, base64ed = v1.header("x-hubspot-signature"), v3.header("x-hubspot-signature-v3")
    assert hexed is not None
    assert base64ed is not None
    assert refusal(adapter, with_header(v1, "X-HubSpot-Signature", hexed.upper())) == "bad_signature"
    for spelled in (base64ed.rstrip("="), base64ed + "=", base64ed + " ", hexed):
        assert refusal(adapter, with_header(v3, "X-HubSpot-Signature-v3", spelled)) == "bad_signature"


def test_the_listed_escapes_are_decoded_once_and_no_other() -> None:
    listed = "%3A%2F%3F%40%21%24%27%28%29%2A%2C%3B"
    assert decode_escapes(listed) == decode_escapes(listed.lower()) == ":/?@!$'()*,;"
    assert decode_escapes("%20%26%3D%2B%253A%") == "%20%26%3D%2B%253A%"
    called = URL + "?to=hs%3Aapp%2Fv3&q=a%20b"
    captured = by_sdk(BODY, "v3", url=decode_escapes(called))
    assert refusal(adapter, request(captured.body, captured.headers, url=called)) is None
    # v2 is over the URL exactly as called.
    captured = by_sdk(BODY, "v2", url=decode_escapes(called))
    assert refusal(adapter, request(captured.body, captured.headers, url=called)) == "bad_signature"


def test_an_operator_can_demand_v3() -> None:
    strict = HubSpotAdapter([SECRET], require_v3=True)
    assert refusal(strict, by_sdk(BODY, "v1")) == "missing_header"
    assert refusal(strict, by_sdk(BODY, "v3")) is None


@pytest.mark.parametrize("body", [BODY, ' {"a": 1}', ""])
@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_what_we_sign_is_what_hubspot_would_send(body: str, version: Any) -> None:
    sent = signed(HubSpotAdapter([SECRET], sign_as=version), body.encode())
    assert refusal(adapter, sent) is None
    older = sent.header("x-hubspot-signature-version")
    assert sent.header("x-hubspot-signature") == Signature.get_signature(SECRET, body, older, URL, "POST")
    v3 = sent.header("x-hubspot-signature-v3")
    assert v3 == (Signature.get_signature(SECRET, body, "v3", URL, "POST", MS) if version == "v3" else None)


def test_every_element_of_a_hundred_keeps_its_bytes_next_to_a_bad_one() -> None:
    texts = [compact(event(eventId=number, propertyValue="é" * number)) for number in range(100)]
    texts[41] = b'{ "eventId" : 1.0, "broken" : true }'
    texts[42] = (
        b'{"eventId":42, "portalId":62515,"occurredAt":1784534400000,"subscriptionType":"contact.creation","objectId":5e0}'
    )
    found = adapter.split(request(b" [" + b" ,\r\n".join(texts) + b"]\n"))
    assert [one.payload for one in found] == texts
    assert [number for number, one in enumerate(found) if one.malformed] == [41, 42]
    assert len({one.provider_event_id for one in found}) == 100
    assert found[41] == Parsed(content_id(texts[41]), "", None, "", texts[41], "portalId is not an integer")


def test_an_event_is_read() -> None:
    assert split_one(event()) == Parsed(
        provider_event_id="62515:contact.propertyChange:123:7:1784534400000:email",
        event_type="contact.propertyChange",
        occurred_at_ms=1_784_534_400_000,
        key="contact:123",
        payload=compact(event()),
    )


def test_the_id_tells_events_apart_that_share_an_event_id() -> None:
    alike = [
        event(),
        event(propertyName="phone"),
        event(objectId=124),
        event(occurredAt=1),
        event(portalId=1),
        event(subscriptionType="contact.creation"),
        event(eventId=8),
    ]
    assert len({split_one(one).provider_event_id for one in alike}) == len(alike)


def test_the_same_event_sent_again_or_to_two_subscriptions_has_one_id() -> None:
    ids = {split_one(one).provider_event_id for one in (event(), event(attemptNumber=3), event(subscriptionId=43))}
    assert len(ids) == 1


def test_an_association_is_about_the_object_it_starts_from() -> None:
    association = event(
        subscriptionType="contact.associationChange",
        associationType="CONTACT_TO_COMPANY",
        fromObjectId=201,
        toObjectId=301,
        propertyName=None,
    )
    del association["objectId"]
    found = split_one(association)
    assert found.provider_event_id == ("62515:contact.associationChange:201>301:7:1784534400000:CONTACT_TO_COMPANY")
    assert found.key == "contact:201"


def test_one_contact_has_one_key_whatever_the_subscription_calls_it() -> None:
    generic = split_one(event(subscriptionType="object.propertyChange", objectTypeId="0-1"))
    assert generic.key == split_one(event()).key == "contact:123"
    assert split_one(event(subscriptionType="object.creation", objectTypeId="2-99")).key == "2-99:123"
    assert split_one(event(subscriptionType="object.creation")).key == "object:123"


@pytest.mark.parametrize(
    "fields",
    [
        {"eventId": None}, {"eventId": True}, {"eventId": "7"}, {"eventId": 7.0}, {"eventId": [7]},
        {"objectId": None}, {"objectId": {}}, {"portalId": "62515"},
        {"occurredAt": None}, {"occurredAt": -1}, {"occurredAt": 10**18}, {"occurredAt": 1.5}, {"occurredAt": "now"},
        {"subscriptionType": None}, {"subscriptionType": ""}, {"subscriptionType": ["x"]}, {"subscriptionType": "a\x00"},
        {"subscriptionType": "\ud800"}, {"subscriptionType": "x" * 201}, {"subscriptionType": "a:1"},
        {"propertyName": 5}, {"propertyName": "\x00"}, {"associationType": "\udc00"},
        {"fromObjectId": 1}, {"fromObjectId": None, "toObjectId": 2},
    ],
)  # fmt: skip
def test_an_element_that_is_no_event_is_kept_as_malformed(fields: dict[str, Any]) -> None:
    found = split_one(event(**fields))
    assert found.malformed
    assert (found.event_type, found.key, found.occurred_at_ms) == ("", "", None)
    assert found.provider_event_id == content_id(found.payload)


@pytest.mark.parametrize("element", [1, "x", None, [], [[]], True])
def test_an_element_that_is_no_object_is_kept_as_malformed(element: object) -> None:
    assert split_one(element).malformed == "not an object"


@pytest.mark.parametrize(
    "value",
    ['"\\u0000"', '"\\ud800"', '"%s"' % ("x" * 1_048_576), "7" * 10_000, "[" * 200 + "]" * 200, "1e400"],
    ids=["nul", "surrogate", "1MiB", "10000 digits", "200 deep", "1e400"],
)
def test_odd_values_pass_through_with_their_bytes(value: str) -> None:
    payload = compact(event(propertyValue="@")).replace(b'"@"', value.encode())
    [found] = adapter.split(request(b"[%s]" % payload))
    assert found.payload == payload
    assert found.malformed is None


def test_an_id_of_ten_thousand_digits_is_malformed_and_one_of_a_thousand_is_hashed() -> None:
    assert split_one(event(objectId=10**1000)).provider_event_id.startswith("sha256:")
    payload = compact(event(objectId=5)).replace(b'"objectId":5', b'"objectId":' + b"5" * 10_000)
    [found] = adapter.split(request(b"[%s]" % payload))
    assert found.malformed == "objectId is not an integer"


def test_an_empty_array_holds_no_event() -> None:
    assert adapter.split(request(b" [ ] ")) == []


@pytest.mark.parametrize(
    "body", [b"", b"null", b'"x"', b"1", b"{", b"[1", b"\xff", b"[NaN]", b"[" * 100_000, b'{"a":' * 100_000]
)
def test_a_body_that_is_neither_array_nor_object_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        adapter.split(request(body))
    assert caught.value.reason == "malformed_body"


def test_a_workflow_body_is_one_event() -> None:
    body = b'{"eventId": "wf-1", "event": "opened", "occurredAt": 1784534400000, "contactId": 123 }'
    assert adapter.split(request(body)) == [
        Parsed("wf-1", "workflow.opened", 1_784_534_400_000, "contact:123", body),
    ]


def test_a_workflow_body_without_fields_is_known_by_its_content() -> None:
    assert adapter.split(request(b"{}")) == [Parsed(content_id(b"{}"), "workflow", None, "", b"{}")]


@pytest.mark.parametrize(
    ("moment", "ms"),
    [("1784534400000", 1_784_534_400_000), ("2026-07-20T08:00:00Z", 1_784_534_400_000), ("soon", None), (True, None)],
)
def test_the_paths_of_a_workflow_body_can_be_set(moment: object, ms: int | None) -> None:
    fields = WorkflowFields(id="meta.id", type="meta.kind", occurred_at="meta.at", key="contact.vid")
    custom = HubSpotAdapter([SECRET], workflow=fields)
    body = compact({"meta": {"id": 5, "kind": "clicked", "at": moment}, "contact": {"vid": "9"}})
    assert custom.split(request(body)) == [Parsed("5", "workflow.clicked", ms, "contact:9", body)]


def test_a_million_elements_are_refused_at_the_ten_thousandth() -> None:
    """They took ten seconds to walk, in which the gate answered nobody else. HubSpot sends a hundred at most."""
    assert len(adapter.split(request(b"[%s]" % b",".join([b"1"] * 10_000)))) == 10_000
    with pytest.raises(RefusedError) as caught:
        adapter.split(request(b"[" + b"1," * 10_001 + b"and this is not read any more"))
    assert caught.value.reason == "too_many_events"


HEADERS = [
    "x-hubspot-signature-v3",
    "x-hubspot-request-timestamp",
    "x-hubspot-signature",
    "x-hubspot-signature-version",
]


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.tuples(st.sampled_from(HEADERS), header_text), max_size=5),
    st.binary(max_size=60)
    | json_values([*event(), "fromObjectId", "toObjectId", "id", "event", "contactId"]).map(compact),
    header_text,
    st.floats(0, 4e9),
)
def test_hostile_requests_are_refused_and_break_nothing(
    headers: list[tuple[str, str]], body: bytes, url: str, now: float
) -> None:
    only_refuses(adapter, request(body, headers, url=url), now)
