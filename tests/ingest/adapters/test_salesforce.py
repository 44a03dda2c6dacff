"""Salesforce's outbound messages: an event for each notification, and a session that nobody ever reads here."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.adapters import build
from ingest.adapters.base import Parsed, RefusedError, Request
from tests.ingest.adapters.requests import NOW, only_refuses, refusal, request
from tidegate.errors import UsageError

TOKEN_TEXT = "6f1d0c9b8a7e4f3d2c1b0a9f8e7d6c5b"
SESSION = "00D000000000001!AQ0AQTopSecretSession"
ORGANIZATION = "00D000000000001EAA"
URL = "https://hooks.example.com/webhooks/crm"
NAMESPACES = (
    'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    'xmlns:sf="urn:sobject.enterprise.soap.sforce.com"'
)
adapter = build("salesforce-outbound", [TOKEN_TEXT])


def notification(name: str = "04l1", fields: str = "<sf:Id>0031</sf:Id>", kind: str = "Contact") -> str:
    return f'<Notification><Id>{name}</Id><sObject xsi:type="sf:{kind}">{fields}</sObject></Notification>'


def envelope(*notifications: str, organization: str = ORGANIZATION, prolog: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{prolog}<soapenv:Envelope {NAMESPACES}>\n<soapenv:Body>'
        f'<notifications xmlns="http://soap.sforce.com/2005/09/outbound"><OrganizationId>{organization}</OrganizationId>'
        f"<ActionId>04k1</ActionId><SessionId>{SESSION}</SessionId><EnterpriseUrl>https://e.example/c</EnterpriseUrl>"
        f"<PartnerUrl>https://e.example/u</PartnerUrl>{''.join(notifications)}</notifications>"
        "</soapenv:Body></soapenv:Envelope>"
    ).encode()


def sent(body: bytes, *, token: str = TOKEN_TEXT) -> Request:
    return request(
        body, [("Content-Type", "text/xml; charset=UTF-8"), ("SOAPAction", '""')], url=f"{URL}?token={token}"
    )


def split_one(body: bytes) -> Parsed:
    [found] = adapter.split(sent(body))
    return found


def fault_of(body: bytes) -> str:
    with pytest.raises(RefusedError) as caught:
        adapter.split(sent(body))
    return caught.value.reason


def test_who_knows_the_token_is_let_in_and_nobody_else() -> None:
    body = envelope(notification())
    assert adapter.verify(sent(body), NOW) == 0
    assert build("salesforce-outbound", ["newer", TOKEN_TEXT]).verify(sent(body), NOW) == 1
    assert refusal(adapter, sent(body, token="guess")) == "bad_signature"
    assert refusal(adapter, request(body, url=URL)) == "missing_secret"
    assert refusal(adapter, request(body, url=f"{URL}?token={TOKEN_TEXT}&token=guess")) == "missing_secret"
    assert refusal(adapter, request(body, [("token", TOKEN_TEXT)], url=URL)) == "missing_secret"


@pytest.mark.parametrize("allowed", [ORGANIZATION, ORGANIZATION[:15], ["00D000000000009", ORGANIZATION]])
def test_only_the_organizations_that_are_named_may_send(allowed: object) -> None:
    strict = build("salesforce-outbound", [TOKEN_TEXT], options={"organization_id": allowed})
    assert refusal(strict, sent(envelope(notification()))) is None
    assert refusal(strict, sent(envelope(notification(), organization=ORGANIZATION[:15]))) is None
    for other in ("00D000000000002EAA", "00d000000000001EAA", "", "00D"):
        assert refusal(strict, sent(envelope(notification(), organization=other))) == "bad_signature"
    assert refusal(strict, sent(b"<x/>")) == "malformed_body"
    assert refusal(strict, sent(b"<x/>", token="guess")) == "bad_signature"


@pytest.mark.parametrize("odd", [5, "", "00D", "acme", ["00D000000000001", 5], {"a": 1}])
def test_an_organization_that_is_none_is_told_at_the_start(odd: object) -> None:
    with pytest.raises(UsageError, match="organization_id"):
        build("salesforce-outbound", [TOKEN_TEXT], options={"organization_id": odd})
    with pytest.raises(UsageError, match="did you mean organization_id"):
        build("salesforce-outbound", [TOKEN_TEXT], options={"organisation_id": ORGANIZATION})


def test_each_notification_is_an_event_that_is_known_by_its_own_id() -> None:
    found = adapter.split(sent(envelope(notification("04l1"), notification("04l2", kind="Opportunity"))))
    assert [(event.provider_event_id, event.event_type, event.key) for event in found] == [
        ("04l1", "Contact", "contact:0031"),
        ("04l2", "Opportunity", "opportunity:0031"),
    ]


def test_a_record_becomes_an_object_of_its_fields_and_what_it_came_with() -> None:
    fields = (
        "<sf:Id>0031</sf:Id><sf:LastName>Zoë &amp; &lt;b&gt; 🚀</sf:LastName><sf:Empty__c></sf:Empty__c>"
        '<sf:Phone xsi:nil="true"/><sf:Tag__c>a</sf:Tag__c><sf:Tag__c>b</sf:Tag__c><sf:Tag__c>c</sf:Tag__c>'
        "<sf:Address><sf:city>Graz</sf:city></sf:Address><sf:LastModifiedDate>2026-11-24T10:00:00.500Z</sf:LastModifiedDate>"
    )
    found = split_one(envelope(notification(fields=fields)))
    assert json.loads(found.payload) == {
        "OrganizationId": ORGANIZATION,
        "ActionId": "04k1",
        "EnterpriseUrl": "https://e.example/c",
        "PartnerUrl": "https://e.example/u",
        "Id": "04l1",
        "type": "Contact",
        "sObject": {
            "Id": "0031",
            "LastName": "Zoë & <b> 🚀",
            "Empty__c": "",
            "Phone": None,
            "Tag__c": ["a", "b", "c"],
            "Address": {"city": "Graz"},
            "LastModifiedDate": "2026-11-24T10:00:00.500Z",
        },
    }
    assert found.occurred_at_ms == 1_795_514_400_500


def test_the_session_is_in_no_event() -> None:
    for event in adapter.split(sent(envelope(notification("04l1"), notification("04l2")))):
        assert b"Secret" not in event.payload


def test_the_notification_of_a_record_that_is_gone_is_an_event_too() -> None:
    for gone in ("<Notification><Id>04l1</Id></Notification>", "<Notification><Id>04l1</Id><sObject/></Notification>"):
        found = split_one(envelope(gone))
        assert (found.provider_event_id, found.event_type, found.key) == ("04l1", "unknown", "")


def test_a_notification_without_an_id_spoils_no_other() -> None:
    nameless = "<Notification><sObject/></Notification>"
    good, bad = adapter.split(sent(envelope(notification(), nameless)))
    assert good.malformed is None
    assert bad.malformed is not None
    assert fault_of(envelope(nameless)) == "no_event_id"


ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<x/>",
        envelope(),
        envelope(notification())[:-1],
        envelope(notification()) + b"<x/>",
        envelope(notification(fields="<sf:Id>&b;</sf:Id>"), prolog=ENTITIES),
        envelope(notification(), prolog="<!DOCTYPE x>"),
        envelope(notification(fields="<sf:Id>&amp;&nbsp;</sf:Id>")),
        envelope(notification(fields="<sf:Id>\x00</sf:Id>")),
        envelope(notification(fields="<sf:Id>&#xD800;</sf:Id>")),
        envelope(notification(fields="<sf:Id>&#0;</sf:Id>")),
        envelope(notification()).replace(b"Contact", b"\xff"),
        envelope(notification()).replace(b"2005/09/outbound", b"2005/09/inbound"),
        envelope(notification()).replace(b"soapenv:Envelope", b"soapenv:Letter"),
        envelope(notification(fields="<sf:a>" * 100 + "</sf:a>" * 100)),
        envelope(notification(fields="<sf:a/>" * 60_000)),
        envelope(notification()).decode().encode("utf-16"),
    ],
)
def test_what_is_no_outbound_message_or_too_much_of_one_is_refused(body: bytes) -> None:
    assert fault_of(body) == "malformed_body"


def test_what_is_sent_by_us_is_taken_at_the_url_that_is_called() -> None:
    headers, body = adapter.sign(envelope(notification()), url=URL, now_seconds=NOW, message_id="m")
    made = request(body, headers, url=adapter.called(URL))
    assert refusal(adapter, made) is None
    assert made.values("soapaction") == ['""']
    assert adapter.takes("text/xml")
    with pytest.raises(UsageError, match="SOAP"):
        adapter.sign(b"{}", url=URL, now_seconds=NOW, message_id="m")


def test_a_token_with_a_newline_behind_it_is_found_out() -> None:
    trimmed: Any = build("salesforce-outbound", [TOKEN_TEXT + "\n"]).trimmed()
    assert refusal(trimmed, sent(envelope(notification()))) is None
    assert adapter.trimmed() is None


_marks = st.sampled_from(
    [
        "<",
        ">",
        "/",
        "&",
        "sf:",
        "xsi:nil='true'",
        "<Notification>",
        "</Notification>",
        "<Id>",
        "</Id>",
        "<sObject>",
        "\x00",
        "é",
    ]
)


@settings(max_examples=300, deadline=None)
@given(inner=st.lists(_marks, max_size=25).map("".join), raw=st.binary(max_size=40))
def test_hostile_bodies_are_refused_and_nothing_else_happens(inner: str, raw: bytes) -> None:
    only_refuses(adapter, sent(envelope(inner)))
    only_refuses(adapter, sent(raw))
    only_refuses(adapter, sent(envelope(notification(fields=inner), f"<Notification><Id>1</Id>{inner}</Notification>")))
