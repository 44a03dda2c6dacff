"""Salesforce's outbound messages: SOAP with up to a hundred notifications, each of which becomes an event in JSON.

Sources: Salesforce's SOAP API guide, "Understanding the Outbound Messaging WSDL" (elements, acknowledgement) and
"Understanding Notifications" (repeated for 24 hours, out of order, the notification's id tells a repetition).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self

from ingest.adapters import xmltext
from ingest.adapters.base import JsonSender, Parsed, RefusedError, Reply, Request, content_id, same, usable
from ingest.adapters.clock import iso_ms
from ingest.adapters.declaration import Signature
from ingest.adapters.limits import bounded, event_type, key
from ingest.adapters.tokens import QueryToken
from ingest.adapters.verifier import Draft
from ingest.adapters.xmltext import Element
from tidegate.errors import UsageError

PARAMETER = "token"
"""The query parameter that proves who calls: Salesforce signs nothing, and sets no header of ours."""

_OUTBOUND = "http://soap.sforce.com/2005/09/outbound"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_KEPT = ("OrganizationId", "ActionId", "EnterpriseUrl", "PartnerUrl")
"""Of what stands beside the notifications. SessionId, which opens the organization to whoever reads it, is not among it."""
_MOMENTS = ("LastModifiedDate", "SystemModstamp", "CreatedDate")
_ACKNOWLEDGED = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    f'<notificationsResponse xmlns="{_OUTBOUND}"><Ack>true</Ack></notificationsResponse>'
    "</soapenv:Body></soapenv:Envelope>"
).encode()
_SHORT_ID_CHARS = 15
"""Of an id. Three more are a checksum of its case, and may be left out."""


class SalesforceOutboundAdapter(JsonSender):
    """``secrets`` are tokens in the URL's query; ``organization_ids`` the organizations that may send, all where empty."""

    provider = "salesforce-outbound"
    content_types = frozenset({"text/xml", "application/xml"})
    success: Reply | None = Reply(200, "text/xml; charset=utf-8", _ACKNOWLEDGED)

    def __init__(self, secrets: Sequence[str], *, organization_ids: Sequence[str] = ()) -> None:
        self._secrets = usable(secrets)
        super().__init__(self._secrets)
        self._token = QueryToken(Signature(kind="token", query=PARAMETER), self._secrets)
        self._organization_ids = tuple(organization_ids)

    def trimmed(self) -> Self | None:
        """Return the same with the space around its secrets taken off; None when there is none."""
        bare = [secret.strip() for secret in self._secrets]
        if bare == list(self._secrets) or not all(bare):
            return None
        return type(self)(bare, organization_ids=self._organization_ids)

    def scheme(self, request: Request) -> str:
        """Return `token`, `none` without the parameter."""
        return self._token.scheme(request)

    def clock_difference(self, request: Request, now_seconds: float) -> float | None:
        """Return None: no time is signed."""
        return None

    def verify(self, request: Request, now_seconds: float) -> int:
        """Return which token is in the query. The body of whoever has none is not read."""
        index = self._token.verify(request, now_seconds)
        if self._organization_ids:
            given = _text(_message(request.body), "OrganizationId") or ""
            if not any(_is_same_id(allowed, given) for allowed in self._organization_ids):
                raise RefusedError("bad_signature", "of another organization than organization_id says")
        return index

    def split(self, request: Request) -> list[Parsed]:
        """Return an event for each notification; raise RefusedError(malformed_body | no_event_id)."""
        message = _message(request.body)
        notifications = message.all("Notification")
        if not notifications:
            raise RefusedError("malformed_body", "a message without a Notification")
        about = {name: _text(message, name) for name in _KEPT}
        found = [_event(notification, about) for notification in notifications]
        if len(found) == 1 and found[0].malformed is not None:
            raise RefusedError("no_event_id", found[0].malformed)
        return found

    def sign(
        self,
        body: bytes,
        *,
        url: str,
        now_seconds: float,
        message_id: str,
        headers: Sequence[tuple[str, str]] = (),
    ) -> tuple[list[tuple[str, str]], bytes]:
        """Return the headers of SOAP 1.1 and ``body``, which is the envelope: the token is in the URL."""
        if not body.lstrip().startswith(b"<"):
            raise UsageError("Salesforce sends a SOAP envelope: give one in XML")
        given = [pair for pair in headers if pair[0].lower() not in ("content-type", "soapaction")]
        return [("Content-Type", "text/xml; charset=UTF-8"), ("SOAPAction", '""'), *given], body

    def called(self, url: str) -> str:
        """Return ``url`` with the token in its query."""
        draft = Draft(url, b"", 0, "")
        self._token.sign(draft)
        return draft.url


def _message(body: bytes) -> Element:
    try:
        envelope = xmltext.loads(body)
    except xmltext.NotXmlError as error:
        raise RefusedError("malformed_body", f"no XML: {error}") from None
    inner = envelope.first("Body")
    found = [] if inner is None else [child for child in inner.children if child.name == "notifications"]
    if envelope.name != "Envelope" or len(found) != 1 or found[0].namespace != _OUTBOUND:
        raise RefusedError("malformed_body", "no SOAP envelope with one outbound message")
    return found[0]


def _event(notification: Element, about: dict[str, str | None]) -> Parsed:
    record = notification.first("sObject")
    fields = _fields(record) if record is not None else {}
    kind = _kind(record) if record is not None else None
    named = _text(notification, "Id")
    # A record that was deleted before it could be sent leaves a notification without data.
    held = {**about, "Id": named, "type": kind, "sObject": fields}
    payload = json.dumps(held, ensure_ascii=False).encode()
    if not named:
        return Parsed(content_id(payload), "", None, "", payload, malformed="a Notification without an Id")
    return Parsed(
        provider_event_id=bounded(named),
        event_type=event_type(kind) or "unknown",
        occurred_at_ms=next(filter(None, (iso_ms(fields.get(name)) for name in _MOMENTS)), None),
        key=key((kind or "record").lower(), fields.get("Id")),
        payload=payload,
    )


def _kind(record: Element) -> str | None:
    """Return the type of a record, `Contact` of `sf:Contact`."""
    return record.attributes.get(f"{_XSI} type", "").rpartition(":")[2] or None


def _fields(element: Element) -> dict[str, Any]:
    """Return the fields of a record: texts, null where Salesforce says nil, lists where one occurs twice."""
    found: dict[str, Any] = {}
    repeated: set[str] = set()
    for child in element.children:
        if child.attributes.get(f"{_XSI} nil") in ("true", "1"):
            value: Any = None
        else:
            value = _fields(child) if child.children else child.text
        if child.name in repeated:
            found[child.name].append(value)
        elif child.name in found:
            found[child.name] = [found[child.name], value]
            repeated.add(child.name)
        else:
            found[child.name] = value
    return found


def _text(element: Element, name: str) -> str | None:
    held = element.first(name)
    return None if held is None else held.text.strip() or None


def _is_same_id(allowed: str, given: str) -> bool:
    return same(allowed[:_SHORT_ID_CHARS], given[:_SHORT_ID_CHARS])
