"""Twilio: what its libraries verify is verified, and nothing that was signed can be changed, cut or sent as something else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.adapters import build
from ingest.adapters.base import Parsed, Request
from tests.ingest.adapters.requests import NOW, any_text, header_text, only_refuses, refusal, request, signed
from tidegate.errors import UsageError

TOKEN = "3c1f0a9be77d4f2c9a8e5d6b7c0f1e2d"
URL = "https://hooks.example.com/webhooks/twilio"
FORM = "application/x-www-form-urlencoded"
SETTINGS = "X-Twilio-Webhooks-Signature-Settings"
FIELDS = [("MessageSid", "SM1"), ("MessageStatus", "delivered"), ("To", "+15550101"), ("AccountSid", "AC1")]
adapter = build("twilio", [TOKEN])


def signature(text: str, *, key: str = TOKEN, name: str = "sha1") -> str:
    """Return what Twilio makes of ``text``: the URL, and the names and values of the fields."""
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), name)).decode()


def sorted_fields(fields: Iterable[tuple[str, str]]) -> str:
    return "".join(name + value for name, value in sorted(set(fields)))


def sent(
    fields: list[tuple[str, str]],
    *,
    url: str = URL,
    given: str | None = None,
    more: Iterable[tuple[str, str]] = (),
    content_type: str = FORM,
) -> Request:
    """Return the form as Twilio posts it to ``url``, with another signature where one is given."""
    proof = given if given is not None else signature(url + sorted_fields(fields))
    headers = [("Content-Type", content_type), ("X-Twilio-Signature", proof), *more]
    return request(urlencode(fields).encode(), headers, url=url)


def json_sent(body: bytes, *, hashed: bytes | None = None, content_type: str = "application/json") -> Request:
    """Return ``body`` as Twilio posts what is no form: its hash in the URL, or that of ``hashed``."""
    url = f"{URL}?bodySHA256={hashlib.sha256(body if hashed is None else hashed).hexdigest()}"
    return request(body, [("Content-Type", content_type), ("X-Twilio-Signature", signature(url))], url=url)


def split_one(checked: Request) -> Parsed:
    [found] = adapter.split(checked)
    return found


@pytest.mark.parametrize(
    "fields",
    [
        FIELDS,
        list(reversed(FIELDS)),
        [("b", "2"), ("a", "1"), ("B", "3")],
        [("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")],
        [("Body", ""), ("From", "+1")],
        [("Body", "Zoë 🚀 & = % +"), ("ключ", "東京")],
        [],
    ],
)
def test_every_field_is_signed_in_the_order_of_names_and_a_repeated_value_once(fields: list[tuple[str, str]]) -> None:
    assert refusal(adapter, sent(fields)) is None
    assert refusal(adapter, sent([*fields, ("More", "1")], given=signature(URL + sorted_fields(fields)))) == (
        "bad_signature"
    )


@pytest.mark.parametrize(
    ("called", "signed_as"),
    [
        ("https://a.example/x", "https://a.example/x"),
        ("https://a.example/x", "https://a.example:443/x"),
        ("http://a.example/x?q=1", "http://a.example:80/x?q=1"),
        ("https://a.example:8443/x", "https://a.example/x"),
        ("https://a.example:8443/x", "https://a.example:8443/x"),
        ("http://[::1]:8080/x", "http://[::1]/x"),
        ("http://[::1]/x", "http://[::1]:80/x"),
        ("https://user:pass@a.example/x", "https://user:pass@a.example:443/x"),
        ("https://user:pass@a.example:8443/x", "https://user:pass@a.example/x"),
    ],
)
def test_the_url_is_signed_with_or_without_its_port(called: str, signed_as: str) -> None:
    proof = signature(signed_as + sorted_fields(FIELDS))
    assert refusal(adapter, sent(FIELDS, url=called, given=proof)) is None


@pytest.mark.parametrize(
    ("called", "signed_as"),
    [
        ("https://a.example/x", "http://a.example/x"),
        ("https://a.example/x", "https://a.example/x/"),
        ("https://a.example/x?a=1&b=2", "https://a.example/x?b=2&a=1"),
        ("https://a.example/x?a=1", "https://a.example/x"),
        ("https://a.example/x", "https://a.example:80/x"),
        ("https://a.example:8443/x", "https://a.example:443/x"),
        ("https://a.example/x", "https://A.example/x"),
        ("https://a.example/x:443", "https://a.example/x"),
    ],
)
def test_a_signature_for_another_url_is_no_good(called: str, signed_as: str) -> None:
    proof = signature(signed_as + sorted_fields(FIELDS))
    assert refusal(adapter, sent(FIELDS, url=called, given=proof)) == "bad_signature"


@pytest.mark.parametrize("body", [b"{}", b'[{"id": "EZ1"}]', '{"b": "Zoë"}'.encode(), b"\xff", b""])
def test_what_is_no_form_is_proven_by_its_hash_in_the_url(body: bytes) -> None:
    assert refusal(adapter, json_sent(body)) is None
    assert refusal(adapter, json_sent(body + b" ", hashed=body)) == "bad_signature"


def test_a_body_without_its_hash_in_the_url_proves_nothing() -> None:
    headers = [("Content-Type", "application/json"), ("X-Twilio-Signature", signature(URL))]
    assert refusal(adapter, request(b"{}", headers, url=URL)) == "malformed_signature"
    assert refusal(adapter, request(b"", headers, url=URL)) is None
    doubled = f"{URL}?bodySHA256={hashlib.sha256(b'{}').hexdigest()}&bodySHA256=0"
    headers = [("Content-Type", "application/json"), ("X-Twilio-Signature", signature(doubled))]
    assert refusal(adapter, request(b"{}", headers, url=doubled)) == "malformed_signature"


@pytest.mark.parametrize("body", [b"", b"=", b"&"])
def test_a_request_of_json_does_not_become_an_empty_form(body: bytes) -> None:
    """Its URL alone is signed, and so would be a form without fields: the hash still has to be that of the body."""
    captured = json_sent(b'{"paid": true}')
    headers = [("content-type", FORM), *[pair for pair in captured.headers if pair[0] != "content-type"]]
    assert refusal(adapter, Request("POST", captured.url, headers, body)) is not None


def test_a_form_does_not_become_json() -> None:
    assert refusal(adapter, sent(FIELDS, content_type="application/json")) == "malformed_signature"


@pytest.mark.parametrize(
    ("announced", "name"),
    [
        ("key=webhooks_sharedkey_1,algorithm=HMAC_SHA256", "sha256"),
        ("algorithm=HMAC_SHA256", "sha256"),
        (" key=k , algorithm = hmac_sha256 ", "sha256"),
        ("key=k,algorithm=HMAC_SHA1", "sha1"),
        ("key=k", "sha1"),
        ("algorithm=", "sha1"),
        ("", "sha1"),
    ],
)
def test_the_hash_is_the_one_that_is_announced(announced: str, name: str) -> None:
    text = URL + sorted_fields(FIELDS)
    other = "sha1" if name == "sha256" else "sha256"
    assert refusal(adapter, sent(FIELDS, given=signature(text, name=name), more=[(SETTINGS, announced)])) is None
    assert refusal(adapter, sent(FIELDS, given=signature(text, name=other), more=[(SETTINGS, announced)])) == (
        "bad_signature"
    )


def test_a_hash_that_we_do_not_know_is_refused_and_not_taken_for_the_old_one() -> None:
    unknown = sent(FIELDS, more=[(SETTINGS, "key=k,algorithm=HMAC_MD5")])
    assert refusal(adapter, unknown) == "wrong_scheme"
    assert adapter.scheme(unknown) == "unknown"
    twice = sent(FIELDS, more=[(SETTINGS, "algorithm=HMAC_SHA1"), (SETTINGS, "algorithm=HMAC_SHA256")])
    assert refusal(adapter, twice) == "duplicate_header"


@pytest.mark.parametrize(
    ("given", "reason"),
    [("", "missing_header"), ("x", "bad_signature"), ("é\x00", "bad_signature"), ("A" * 100_000, "bad_signature")],
)
def test_a_header_that_is_no_signature_is_refused(given: str, reason: str) -> None:
    assert refusal(adapter, sent(FIELDS, given=given)) == reason


def test_a_signature_that_is_missing_or_there_twice_is_refused() -> None:
    good = sent(FIELDS)
    bare = [pair for pair in good.headers if pair[0] != "x-twilio-signature"]
    assert refusal(adapter, Request("POST", URL, bare, good.body)) == "missing_header"
    assert refusal(adapter, Request("POST", URL, [*good.headers, good.headers[-1]], good.body)) == "duplicate_header"


@pytest.mark.parametrize("body", [b"a=%ff", b"\xff=1", b"&".join(b"a%d=1" % n for n in range(2000))])
def test_a_form_that_cannot_be_read_is_refused(body: bytes) -> None:
    headers = [("Content-Type", FORM), ("X-Twilio-Signature", "x")]
    assert refusal(adapter, request(body, headers, url=URL)) == "malformed_body"


def test_either_token_verifies_while_it_is_rolled() -> None:
    both = build("twilio", ["newer", TOKEN])
    assert both.verify(sent(FIELDS), NOW) == 1
    assert refusal(build("twilio", ["newer"]), sent(FIELDS)) == "bad_signature"


def test_a_form_is_stored_as_an_object_and_a_repeated_field_as_a_list() -> None:
    found = split_one(sent([*FIELDS, ("MediaUrl", "a"), ("MediaUrl", "b"), ("Body", "Zoë")]))
    assert json.loads(found.payload) == {**dict(FIELDS), "MediaUrl": ["a", "b"], "Body": "Zoë"}
    assert (found.provider_event_id, found.event_type, found.key) == ("SM1:delivered", "delivered", "message:SM1")


def test_the_statuses_of_a_message_are_events_and_a_repetition_is_none() -> None:
    def named(status: str, **more: str) -> str:
        fields = [("MessageSid", "SM1"), ("SmsStatus", status), ("MessageStatus", status), *more.items()]
        return split_one(sent(fields)).provider_event_id

    assert named("sent") == named("sent", RawDlrDoneDate="2611241031")
    assert named("sent") != named("delivered")


def test_two_answers_of_one_caller_are_two_events() -> None:
    """Both requests bear the call's id and its status; only what was pressed differs, or Twilio's own token."""
    call = [("CallSid", "CA1"), ("CallStatus", "in-progress")]
    one, other = sent([*call, ("Digits", "1")]), sent([*call, ("Digits", "2")])
    assert split_one(one).provider_event_id != split_one(other).provider_event_id
    assert split_one(one).provider_event_id == split_one(sent([*call, ("Digits", "1")])).provider_event_id
    again = [
        split_one(sent([*call, ("Digits", "1")], more=[("I-Twilio-Idempotency-Token", token)])).provider_event_id
        for token in ("t1", "t1", "t2")
    ]
    assert again[0] == again[1] != again[2]
    assert split_one(one).key == "call:CA1"


def test_events_of_event_streams_come_in_an_array_and_have_ids_of_their_own() -> None:
    events = [
        {
            "specversion": "1.0",
            "type": "com.twilio.messaging.message.sent",
            "id": f"EZ{n}",
            "time": "2026-11-24T10:00:00Z",
        }
        for n in range(2)
    ]
    found = adapter.split(json_sent(json.dumps(events).encode()))
    assert [event.provider_event_id for event in found] == ["EZ0:1.0", "EZ1:1.0"]
    assert {event.event_type for event in found} == {"com.twilio.messaging.message.sent"}
    assert {event.occurred_at_ms for event in found} == {1_795_514_400_000}


@pytest.mark.parametrize(
    "body", [b'{"MessageSid": "SM9", "MessageStatus": "sent", "Tags": ["a", "b"]}', b"MessageSid=SM9"]
)
def test_what_is_sent_by_us_is_a_form_that_verifies(body: bytes) -> None:
    made = signed(adapter, body, url=URL)
    assert refusal(adapter, made) is None
    assert made.values("content-type") == [FORM]
    assert split_one(made).key == "message:SM9"


def test_what_twilio_never_sends_is_not_sent_by_us() -> None:
    with pytest.raises(UsageError, match="Twilio sends a form"):
        signed(adapter, b"{", url=URL)


@settings(max_examples=300, deadline=None)
@given(
    body=st.binary(max_size=80) | any_text.map(lambda text: text.encode("utf-8", "surrogatepass")),
    url=st.sampled_from([URL, "", "x", "http://[", "https://a:b:c/", f"{URL}?bodySHA256=x"]) | any_text,
    headers=st.lists(
        st.tuples(st.sampled_from(["X-Twilio-Signature", SETTINGS, "Content-Type"]), header_text | st.just(FORM)),
        max_size=4,
    ),
)
def test_hostile_requests_are_refused_and_nothing_else_happens(
    body: bytes, url: str, headers: list[tuple[str, str]]
) -> None:
    only_refuses(adapter, request(body, headers, url=url))
