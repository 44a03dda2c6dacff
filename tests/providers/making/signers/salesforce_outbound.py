"""Salesforce's outbound messages: a token in the URL, and a SOAP envelope whose organization may be asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.providers.making.bodies import Body
from tests.providers.making.signer import Case, Signer
from tests.providers.making.tokens import query_token_signer

KIND = "text/xml; charset=UTF-8"
ORGANIZATION, OTHER_ORGANIZATION = "00D000000000001EAA", "00D000000000002EAA"
ACTION = (("SOAPAction", '""'),)
ONLY_OURS = {"options": {"organization_id": ORGANIZATION}}


def _record(name: str, kind: str, fields: str) -> str:
    return f'<Notification><Id>{name}</Id><sObject xsi:type="sf:{kind}">{fields}</sObject></Notification>'


def _envelope(*notifications: str, prolog: str = "", organization: str = ORGANIZATION) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{prolog}'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
        '<notifications xmlns="http://soap.sforce.com/2005/09/outbound" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">'
        f"<OrganizationId>{organization}</OrganizationId><ActionId>04k1</ActionId><SessionId>00D!session</SessionId>"
        f"{''.join(notifications)}</notifications></soapenv:Body></soapenv:Envelope>"
    ).encode()


def _deal(number: int) -> str:
    return _record(f"04l{number}", "Opportunity", "<sf:Id>0061</sf:Id><sf:Name>Zoë &amp; 李 🚀</sf:Name>")


METEOR = _record("04l6", "Meteor__c", "<sf:Id>a01</sf:Id>")
CONTACT = _record("04l1", "Contact", "<sf:Id>0031</sf:Id><sf:Email>ada@example.com</sf:Email>")


def more(signer: Signer) -> Iterator[Case]:
    good = signer.signed()

    def of(said: str, body: bytes, *, valid: bool = False) -> Case:
        return Case(said, good.with_body(body), valid=valid, also=ONLY_OURS)

    yield of("of the organization that may send", good.body, valid=True)
    yield of("its id in the short form", _envelope(CONTACT, organization=ORGANIZATION[:15]), valid=True)
    yield of("of another organization", _envelope(CONTACT, organization=OTHER_ORGANIZATION))
    yield of("of no organization", _envelope(CONTACT, organization=""))
    yield of("a document type", _envelope(CONTACT, prolog="<!DOCTYPE x>"))
    entities = '<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    yield of("entities that grow", _envelope(CONTACT.replace("ada", "&b;"), prolog=entities))
    outside = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
    yield of("an entity from a file", _envelope(CONTACT.replace("ada", "&a;"), prolog=outside))
    yield of("the envelope without its end", good.body[:-9])
    yield of("JSON", b'{"OrganizationId": "00D000000000001EAA"}')
    yield of("an empty body", b"")
    yield of("elements within elements, a thousand times", _envelope("<a>" * 1000 + "</a>" * 1000))
    yield of("a byte that is no UTF-8", good.body.replace(b"ada", b"\xff"))
    yield of("a NUL", good.body.replace(b"ada", b"\x00"))
    yield Case("the right organization and no token", replace(good, url=signer.url), also=ONLY_OURS)


SIGNER = query_token_signer(
    parameter="token",
    secret="sf7d9c2e1b0a8f6e5d",
    other_secret="sf0000000000000000",
    bodies=[
        Body("a contact", _envelope(CONTACT), ACTION, KIND),
        Body("two opportunities, with unicode", _envelope(_deal(2), _deal(3)), ACTION, KIND),
        Body("a field that is nil", _envelope(_record("04l4", "Lead", '<sf:Phone xsi:nil="true"/>')), ACTION, KIND),
        Body("a record that is gone", _envelope("<Notification><Id>04l5</Id></Notification>"), ACTION, KIND),
        Body(
            "a type that nobody knows",
            _envelope(METEOR),
            ACTION,
            "application/xml",
        ),
    ],
    more=more,
)
