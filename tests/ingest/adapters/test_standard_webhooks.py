"""Standard Webhooks and Svix: what their libraries sign passes, what somebody bent does not."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks
import svix.webhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.adapters import build
from ingest.adapters.base import Adapter, Parsed, RefusedError, Request
from tests.ingest.adapters.requests import (
    NOW,
    header_text,
    json_values,
    only_refuses,
    refusal,
    request,
    signed,
    with_header,
)
from tidegate.errors import UsageError

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OTHER = "whsec_bm90IHRoZSByaWdodCBvbmUgYXQgYWxsIQ=="
SECONDS = str(int(NOW))
BODY = '{"type":"contact.created","timestamp":"2026-08-10T00:41:42.035Z","data":{"id":"c-1"}}'

adapter = build("standard-webhooks", [SECRET])
svix_adapter = build("svix", [SECRET])


def headers(
    prefix: str, signature: str, *, message_id: str = "msg_1", timestamp: str = SECONDS
) -> list[tuple[str, str]]:
    return [(f"{prefix}-id", message_id), (f"{prefix}-timestamp", timestamp), (f"{prefix}-signature", signature)]


def by_sdk(body: str = BODY, *, secret: str = SECRET, message_id: str = "msg_1", timestamp: str = SECONDS) -> str:
    moment = datetime.fromtimestamp(int(timestamp), UTC)
    made: str = standardwebhooks.Webhook(secret).sign(message_id, moment, body)
    return made


def captured(signature: str | None = None, *, body: str = BODY, prefix: str = "webhook", **changed: str) -> Request:
    made = by_sdk(body, **changed) if signature is None else signature
    return request(body.encode(), headers(prefix, made, **changed))


def test_the_published_v1_answer_verifies() -> None:
    # From the tests of the specification's reference libraries.
    published = request(
        b'{"test": 2432232314}',
        headers(
            "webhook",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp="1614265330",
        ),
    )
    for secret in ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"):
        assert refusal(build("standard-webhooks", [secret]), published, 1614265330) is None


def test_the_published_v1a_answer_verifies() -> None:
    # From the tests of the Svix server.
    published = request(
        b'{"test": 2432232314}',
        headers(
            "webhook",
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
            message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp="1614265330",
        ),
    )
    holder = build("standard-webhooks", ["whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="])
    assert refusal(holder, published, 1614265330) is None
    assert (
        refusal(holder, Request("POST", "", published.headers, b'{"test": 2432232315}'), 1614265330) == "bad_signature"
    )
    assert refusal(adapter, published, 1614265330) == "wrong_scheme"


@pytest.mark.parametrize("body", [BODY, "", "{}\r\n", '{"name":"Zoë 🚀 \\u2028"}', "not json"])
def test_what_the_sdk_signs_verifies(body: str) -> None:
    assert refusal(adapter, captured(body=body)) is None


def test_what_the_svix_sdk_signs_verifies() -> None:
    made = svix.webhooks.Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(NOW, UTC), BODY)
    for prefix in ("svix", "webhook"):
        assert refusal(svix_adapter, captured(made, prefix=prefix)) is None
    assert refusal(adapter, captured(made, prefix="svix")) == "missing_header"


@pytest.mark.parametrize("made_by", [adapter, svix_adapter])
def test_what_we_sign_is_what_the_sdks_accept(made_by: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC).timestamp()
    sent = signed(made_by, BODY.encode(), now=now)
    assert refusal(made_by, sent, now) is None
    svix.webhooks.Webhook(SECRET).verify(sent.body, dict(sent.headers))
    if made_by is adapter:
        standardwebhooks.Webhook(SECRET).verify(sent.body, dict(sent.headers))


def test_a_secret_without_prefix_or_padding_verifies() -> None:
    unpadded = base64.b64encode(b"a secret of 25 characters").decode().rstrip("=")
    for spelled in (unpadded, unpadded + "==", "whsec_" + unpadded):
        assert refusal(build("standard-webhooks", [spelled]), captured(by_sdk(secret=unpadded))) is None


def test_a_rotation_loses_nothing() -> None:
    listed = f"{by_sdk(secret=OTHER)} {by_sdk()}"
    assert refusal(adapter, captured(listed)) is None
    assert refusal(build("standard-webhooks", [OTHER]), captured(listed)) is None
    assert refusal(build("standard-webhooks", [OTHER, SECRET]), captured()) is None


def test_versions_and_entries_nobody_knows_are_passed_over() -> None:
    for around in ("v2,AAAA", "v1a,AAAA", "junk", "v1,é", ""):
        assert refusal(adapter, captured(f"{around} {by_sdk()} {around}")) is None


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        ("", "missing_header"),
        ("v1,", "bad_signature"),
        ("v1,AAAA", "bad_signature"),
        ("v1,é" + by_sdk()[3:], "bad_signature"),
        (by_sdk()[:-1], "bad_signature"),
        (by_sdk() + "=", "bad_signature"),
        (by_sdk() + ",junk", "bad_signature"),
        ("v1,\ud800\x00", "bad_signature"),
        (by_sdk(secret=OTHER), "bad_signature"),
        (by_sdk()[3:], "malformed_signature"),
        (" ".join([by_sdk(secret=OTHER)] * 16 + [by_sdk()]), "malformed_signature"),
        ("v1," * 100_000, "bad_signature"),
        ("v1 " * 100_000, "malformed_signature"),
        ("v2," + by_sdk()[3:], "wrong_scheme"),
        ("V1," + by_sdk()[3:], "wrong_scheme"),
        ("v1a," + by_sdk()[3:], "wrong_scheme"),
    ],
)
def test_other_signatures_are_refused(signature: str, reason: str) -> None:
    assert refusal(adapter, captured(signature)) == reason


@pytest.mark.parametrize("signature", ["v1a,", "v1a,AAAA", "v1a,é", "v1a,====", "v1a," + "A" * 86 + "==", by_sdk()])
def test_other_ed25519_signatures_are_refused(signature: str) -> None:
    key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    holder = build("standard-webhooks", ["whpk_" + base64.b64encode(key).decode()])
    assert refusal(holder, captured(signature)) == ("wrong_scheme" if signature == by_sdk() else "bad_signature")


@pytest.mark.parametrize("provider", ["standard-webhooks", "acme"])
def test_more_public_key_signatures_than_a_rotation_needs_are_not_even_tried(provider: str) -> None:
    """Each hashes the whole body anew: 16 of them with 2 MiB stop the gate for a third of a second."""
    private = Ed25519PrivateKey.generate()
    public = base64.b64encode(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    listed = {"layout": "list", "separator": " ", "prefix": "v1a,", "encoding": "base64"}
    signature = {"kind": "ed25519", "header": "webhook-signature", "signed": f"msg_1.{SECONDS}.{{body}}", **listed}
    secret = f"whpk_{public}" if provider == "standard-webhooks" else public
    holder = build(provider, [secret], own={"acme": {"signature": signature}})
    good = "v1a," + base64.b64encode(private.sign(f"msg_1.{SECONDS}.{BODY}".encode())).decode()
    other = "v1a," + "A" * 86 + "=="
    assert refusal(holder, captured(" ".join([other] * 3 + [good]))) is None
    assert refusal(holder, captured(" ".join([other] * 4 + [good]))) == "malformed_signature"


def test_a_shared_and_a_public_key_may_stand_side_by_side() -> None:
    private = Ed25519PrivateKey.generate()
    public = base64.b64encode(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode().rstrip("=")
    made = base64.b64encode(private.sign(f"msg_1.{SECONDS}.{BODY}".encode())).decode()
    both = build("standard-webhooks", ["whpk_" + public, SECRET])
    assert refusal(both, captured(f"v1,AAAA v1a,{made}")) is None
    assert refusal(both, captured()) is None
    assert refusal(both, signed(both, BODY.encode())) is None


@pytest.mark.parametrize(("off", "reason"), [(300, None), (-300, None), (301, "future"), (-301, "stale")])
def test_a_request_is_good_for_five_minutes_either_way(off: int, reason: str | None) -> None:
    assert refusal(adapter, captured(timestamp=str(int(NOW) + off))) == reason


@pytest.mark.parametrize(
    "timestamp",
    [
        "hello",
        "NaN",
        "1789000000.9",
        "1789000000abc",
        "+1789000000",
        "-1",
        "1_789_000_000",
        "１７８９００００００",
        "1" * 17,
        " ",
    ],
)
def test_a_timestamp_that_is_no_plain_integer_is_refused(timestamp: str) -> None:
    assert refusal(adapter, with_header(captured(), "webhook-timestamp", timestamp)) == "malformed_signature"


@pytest.mark.parametrize("message_id", ["msg_x.1", "msg é", "msg\x001", "\ud800", "a b"])
def test_a_message_id_that_could_be_read_two_ways_is_refused(message_id: str) -> None:
    assert refusal(adapter, with_header(captured(), "webhook-id", message_id)) == "malformed_signature"


def test_a_shifted_boundary_between_id_and_time_is_refused() -> None:
    shifted = captured(by_sdk(message_id="msg_x", timestamp=SECONDS), message_id=f"msg_x.{SECONDS}", timestamp="5")
    assert refusal(adapter, shifted) == "stale"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_needed_once(name: str) -> None:
    whole = captured()
    assert refusal(adapter, with_header(whole, name, None)) == "missing_header"
    assert refusal(adapter, with_header(whole, name, "")) == "missing_header"
    twice = [*whole.headers, (name, "x")]
    assert refusal(adapter, request(whole.body, twice)) == "duplicate_header"


def test_changed_bodies_and_ids_are_refused() -> None:
    whole = captured()
    for body in (b"", BODY.encode() + b"\n", BODY.encode("utf-8-sig"), b"\xff\xfe" + BODY.encode()):
        assert refusal(adapter, request(body, whole.headers)) == "bad_signature"
    assert refusal(adapter, with_header(whole, "webhook-id", "msg_2")) == "bad_signature"
    assert refusal(adapter, with_header(whole, "webhook-timestamp", str(int(NOW) + 1))) == "bad_signature"


def test_svix_headers_win_and_the_id_stored_is_the_id_signed() -> None:
    white = headers("webhook", "v1,AAAA", message_id="msg_evil")
    both = request(BODY.encode(), [*white, *headers("svix", by_sdk())])
    assert refusal(svix_adapter, both) is None
    assert svix_adapter.split(both)[0].provider_event_id == "msg_1"
    # A fresh svix-id put before a signed white-labelled set must not become the event's id.
    mixed = request(BODY.encode(), [("svix-id", "msg_fresh"), *headers("webhook", by_sdk())])
    assert refusal(svix_adapter, mixed) == "bad_signature"
    emptied = request(BODY.encode(), [("svix-id", ""), *headers("webhook", by_sdk())])
    assert refusal(svix_adapter, emptied) == "missing_header"


@pytest.mark.parametrize(
    "secret",
    ["whsk_" + SECRET[6:], "whsec_", "whsec_é", "not base64!", "A", "whpk_", "whpk_AAAA", "whpk_!", SECRET + "\n"],
)
def test_a_secret_that_is_none_is_refused_at_the_start_and_not_shown(secret: str) -> None:
    with pytest.raises(UsageError) as caught:
        build("standard-webhooks", [secret])
    assert secret[6:] == "" or secret[6:] not in str(caught.value)


def test_a_public_key_cannot_sign() -> None:
    with pytest.raises(UsageError, match="whsec_"):
        signed(build("standard-webhooks", ["whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="]), b"{}")


def split_one(body: Any, **changed: str) -> Parsed:
    [found] = adapter.split(captured("v1,AAAA", body=body if isinstance(body, str) else json.dumps(body), **changed))
    return found


def test_an_event_is_read() -> None:
    assert split_one(BODY) == Parsed("msg_1", "contact.created", 1_786_322_502_035, "contact:c-1", BODY.encode())


@pytest.mark.parametrize(
    ("kind", "data", "key"),
    [
        ("enrollment.created", {"enrollment_id": "e-1", "campaign_id": "c-1"}, "enrollment:e-1"),
        ("campaign.created", {"campaign_id": "c-1", "name": "Spring"}, "campaign:c-1"),
        ("email.bounced", {"email_id": "56761188"}, "email:56761188"),
        ("contact.created", {"id": 5}, "contact:5"),
        ("contact.created", {"id": True}, ""),
        ("contact.created", [], ""),
        ("contact.created", None, ""),
        ("ping", {"id": "x" * 300}, "sha256:"),
        ("ping", {"id": "\x00"}, "sha256:"),
    ],
)
def test_the_key_is_the_noun_of_the_type_and_its_id(kind: str, data: object, key: str) -> None:
    found = split_one({"type": kind, "data": data}).key
    assert found == key or (key == "sha256:" and found.startswith(key))


@pytest.mark.parametrize(
    ("body", "ms"),
    [
        ({"timestamp": "2022-11-03T20:26:10.344522Z"}, 1_667_507_170_344),
        ({"created_at": "2023-02-22T23:41:12.126Z"}, 1_677_109_272_126),
        ({"timestamp": "soon", "created_at": "2023-02-22T23:41:12.126Z"}, 1_677_109_272_126),
        ({"timestamp": [5]}, int(NOW) * 1000),
        ({}, int(NOW) * 1000),
    ],
)
def test_when_it_happened_is_told_by_the_body_or_else_the_header(body: dict[str, Any], ms: int) -> None:
    assert split_one(body).occurred_at_ms == ms


@pytest.mark.parametrize(
    ("body", "fine"), [({}, True), ({"type": [5]}, False), ({"type": ""}, False), ({"type": "\x00"}, False)]
)
def test_a_missing_type_is_unknown_and_an_impossible_one_makes_a_letter(body: dict[str, Any], fine: bool) -> None:
    found = split_one(body)
    assert found.event_type == "unknown"
    assert (found.malformed is None) == fine


def test_a_long_message_id_is_hashed() -> None:
    found = split_one(BODY, message_id="m" * 201)
    assert found.provider_event_id.startswith("sha256:")


@pytest.mark.parametrize("body", ["", "[]", "null", '"x"', "{", "{'a':1}", '{"a":NaN}', '{"a":' * 100_000])
def test_a_body_that_is_no_object_is_refused(body: str) -> None:
    with pytest.raises(RefusedError) as caught:
        split_one(body)
    assert caught.value.reason == "malformed_body"


@pytest.mark.parametrize(
    "value",
    ['"\\u0000"', '"\\ud800"', '"%s"' % ("x" * 1_048_576), "7" * 10_000, "[" * 200 + "]" * 200],
    ids=["nul", "surrogate", "1MiB", "10000 digits", "200 deep"],
)
def test_odd_values_pass_through_with_their_bytes(value: str) -> None:
    body = f'{{"type":"t", "data":{{"odd":{value}}} }}'
    assert refusal(adapter, captured(body=body)) is None
    assert split_one(body).payload == body.encode()


NAMES = [f"{prefix}-{part}" for prefix in ("svix", "webhook") for part in ("id", "timestamp", "signature")]


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), header_text), max_size=7),
    st.binary(max_size=60)
    | json_values(["type", "timestamp", "created_at", "data", "id"]).map(lambda value: json.dumps(value).encode()),
    st.floats(0, 4e9),
)
def test_hostile_requests_are_refused_and_break_nothing(
    headers: list[tuple[str, str]], body: bytes, now: float
) -> None:
    both = ["whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", SECRET]
    for judge in (build("standard-webhooks", both), build("svix", both)):
        only_refuses(judge, request(body, headers), now)
        fresh = [("svix-id", "m"), ("svix-timestamp", SECONDS), *[pair for pair in headers if "signature" in pair[0]]]
        only_refuses(judge, request(body, fresh), NOW)
