"""The provider adapters: only what a secret signed is authentic, and whatever was signed is events that can be stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

from ingest.adapters import build
from ingest.adapters.base import UNAUTHENTIC, Adapter, Parsed, RefusedError, Request
from ingest.adapters.hubspot import decode_escapes
from ingest.adapters.limits import TEXT_MAX
from tests.fuzz import of_json, reference
from tests.fuzz.target import Target, expect
from tidegate import jsontext
from tidegate.errors import UsageError
from tidegate.event import Delivery, Event
from tidegate.telemetry import redaction
from tidegate.wire import encode_meta, parse

URL = "https://hooks.example.com/webhooks/source"
NOW = 1_789_000_000.0
SECRETS = {
    "hubspot": "7f1c9a3e-hubspot-client-secret",
    "lemlist": "whk_Zq2kYp8Vw4LemlistSecret",
    "standard-webhooks": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "svix": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
}
_PUBLIC = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
"""A public key beside the shared one: an entry of `v1a` is read too."""

BODIES = {
    "hubspot": (
        b'[{"eventId":1,"portalId":2,"objectId":3,"occurredAt":1752662400000,"subscriptionType":"contact.creation"}]',
        b'[{"eventId":1,"portalId":2,"fromObjectId":3,"toObjectId":4,"fromObjectTypeId":"0-1","occurredAt":1,'
        b'"subscriptionType":"contact.associationChange","associationType":"CONTACT_TO_COMPANY"},7,{"objectTypeId":"0-3"}]',
        b'{"eventId":"e-1","event":"opened","occurredAt":"1752662400000","contactId":42}',
        b"[]",
        b"[1,",
    ),
    "lemlist": (
        b'{"_id":"act_1","type":"emailsOpened","createdAt":"2026-01-01T00:00:00.000Z","campaignId":"cam_1","leadId":"lea_1"}',
        b'{"_id":"a","data":{"copy":"whk_Zq2kYp8Vw4LemlistSecret","\\u0073":"whk\\u005fZq2kYp8Vw4LemlistSecret"}}',
        b'{"_id":"a","secret":"b"}',
        b"[]",
    ),
    "standard-webhooks": (
        b'{"type":"campaign.created","timestamp":"2026-01-01T00:00:00Z","data":{"campaign_id":"c-1"}}',
        b'{"type":"enrollment.paused","created_at":"2026-01-01","data":{"id":7}}',
        b'{"type":1}',
        b"[]",
    ),
    "svix": (b'{"type":"email.bounced","created_at":"2026-01-01T00:00:00Z","data":{"email_id":"m-1"}}', b"{}", b"nul"),
}
_FIELDS = (
    "_id", "type", "secret", "createdAt", "campaignId", "leadId", "timestamp", "created_at", "data", "campaign_id", "id",
    "eventId", "portalId", "objectId", "occurredAt", "subscriptionType", "fromObjectId", "toObjectId", "associationType",
    "propertyName", "objectTypeId", "fromObjectTypeId", "event", "contactId",
)  # fmt: skip
_WORDS = (
    *of_json.WORDS, *(f'"{name}":'.encode() for name in _FIELDS), b'"contact.creation"', b'"object.creation"', b"1752662400000",
    b"253402300799999", b'"2026-01-01T00:00:00Z"', b'"9999-12-31T23:59:59-14:00"', b"whk_Zq2kYp8Vw4LemlistSecret", b"x" * 201,
)  # fmt: skip
_HEADER_WORDS = (
    *_WORDS, b"webhook-id: ", b"webhook-timestamp: ", b"webhook-signature: ", b"svix-id: ", b"svix-timestamp: ",
    b"svix-signature: ", b"x-hubspot-signature-v3: ", b"x-hubspot-request-timestamp: ", b"x-hubspot-signature: ",
    b"x-hubspot-signature-version: ", b"v1,", b"v1a,", b"v1", b"v2", b"1789000000", b"1789000000000", b"%3A", b"%2f", b"%3f",
    b"=", b"\n\n",
)  # fmt: skip


def _adapter(provider: str) -> Adapter:
    secrets = [SECRETS[provider], "an older secret" if provider in ("hubspot", "lemlist") else _PUBLIC]
    return build(provider, secrets)


def _sign(adapter: Adapter, body: bytes) -> Request | None:
    """Return the request that the provider would send, None for a body it would not."""
    try:
        headers, signed = adapter.sign(body, url=URL, now_seconds=NOW, message_id="msg_1")
    except UsageError:
        return None
    return Request("POST", URL, [(name.lower(), value) for name, value in headers], signed)


def verified(adapter: Adapter, request: Request) -> bool:
    """Tell whether ``request`` is authentic; a refusal must be one of a signature, and tell nothing."""
    try:
        adapter.verify(request, NOW)
    except RefusedError as refused:
        expect(
            refused.reason in UNAUTHENTIC or refused.reason == "malformed_body", f"a signature is not {refused.reason}"
        )
        _tells_nothing(adapter, refused)
        return False
    return True


def split(adapter: Adapter, request: Request) -> list[Parsed]:
    """Return the events of ``request``, none when it is refused; each must be fit for the stream and the database."""
    reference.teach(request.body)
    try:
        events = adapter.split(request)
    except RefusedError as refused:
        _tells_nothing(adapter, refused)
        return []
    for event in events:
        _is_sound(adapter, event, request)
    return events


def _tells_nothing(adapter: Adapter, refused: RefusedError) -> None:
    expect(adapter.masked(str(refused)) == str(refused), "no refusal tells the secret")
    expect(len(str(refused)) < 200 and str(refused).isprintable(), f"a refusal is a short line: {refused}")
    expect(refused.__cause__ is None, "no traceback may show the request")


def _is_sound(adapter: Adapter, parsed: Parsed, request: Request) -> None:
    for text in (parsed.provider_event_id, parsed.event_type, parsed.key):
        expect(len(text) <= TEXT_MAX and jsontext.is_storable(text), f"it can be stored: {text[:300]!r}")
    expect(bool(parsed.provider_event_id), "an event has an id")
    expect(bool(parsed.event_type) or parsed.malformed is not None, "an event has a type, or is none")
    event = Event(
        source="source",
        provider=adapter.provider,
        provider_event_id=parsed.provider_event_id,
        event_type=parsed.event_type,
        occurred_at_ms=0 if parsed.occurred_at_ms is None else parsed.occurred_at_ms,
        received_at_ms=int(NOW * 1000),
        key=parsed.key,
        payload=parsed.payload,
        delivery_id=UUID(int=7),
        headers=redaction.headers(request.headers),
    )
    expect(bool(event.occurred_at.isoformat()), "when it happened is a time")
    jsontext.loads(event.payload)
    delivery = Delivery(event, malformed=parsed.malformed)
    again = parse(b"source", event.provider_event_id.encode(), encode_meta(delivery), event.payload)
    expect(again == delivery, "what is put on the stream comes off it the same")


def signed(provider: str) -> Callable[[bytes], None]:
    """Return the check of bodies that the provider has signed, and that somebody changes on their way."""
    adapter = _adapter(provider)

    def check(body: bytes) -> None:
        request = _sign(adapter, body)
        if request is None:
            request = Request("POST", URL, [("content-type", "application/json")], body)
            expect(not verified(adapter, request), "what the provider could not send is not from it")
            return
        held = _values_of_secret(request.body) if provider == "lemlist" else [None]
        expect(verified(adapter, request) == (len(held) == 1), "what is signed is authentic")
        events = split(adapter, request)
        if provider == "lemlist":
            for event in events:
                expect(not _holds(jsontext.loads(event.payload), SECRETS[provider]), "Lemlist's secret is not kept")
            return
        if provider == "hubspot" and request.body.lstrip(b" \t\r\n").startswith(b"["):
            slices = [payload for _, payload in jsontext.elements(request.body)] if events else []
            expect([event.payload for event in events] == slices, "each element keeps its bytes")
        else:
            expect(all(event.payload == body for event in events), "the body keeps its bytes")
        for other in changed(body):
            expect(not verified(adapter, replace(request, body=other)), "a changed body is not authentic")

    return check


def changed(body: bytes) -> Sequence[bytes]:
    """Give ``body`` with a byte more, a byte less, and a bit flipped where it depends on the body."""
    at = sum(body) % (len(body) or 1)
    flipped = body[:at] + bytes(byte ^ 1 for byte in body[at : at + 1]) + body[at + 1 :]
    return [other for other in (body + b" ", body[:-1], flipped) if other != body]


def _values_of_secret(body: bytes) -> list[object]:
    try:
        held = reference.read(body)
    except reference.TooDeepError:  # said by the one under test, then
        return jsontext.cut(body, "secret").values
    return [value for name, value in held if name == "secret"]


def _holds(value: object, secret: str) -> bool:
    if isinstance(value, dict):
        return any(secret in name or _holds(held, secret) for name, held in value.items())
    if isinstance(value, list):
        return any(_holds(held, secret) for held in value)
    return isinstance(value, str) and secret in value


def hostile(provider: str) -> Callable[[bytes], None]:
    """Return the check of whole requests: URL, a header a line, an empty line, body.

    The engine begins with authentic ones and does not know the secret, so it can only make authentic again what says
    the same as one of those.
    """
    adapter = _adapter(provider)
    known = {_said(provider, request_of(seed)) for seed in _requests(provider)}

    def check(raw: bytes) -> None:
        request = request_of(raw)
        if verified(adapter, request):
            if provider == "lemlist":
                expect(_values_of_secret(request.body) == [SECRETS[provider]], "the secret is there, once")
            else:
                expect(_said(provider, request) in known, "nothing is authentic that was never signed")
        split(adapter, request)

    return check


def _said(provider: str, request: Request) -> bytes:
    """Return what the signature that counts in a request is over, after the name of its scheme."""
    named = {name: value.encode("latin-1") for name, value in request.headers}
    if provider == "hubspot":
        if "x-hubspot-signature-v3" in named:
            url = decode_escapes(request.url).encode("latin-1")
            return b"v3 " + url + request.body + named.get("x-hubspot-request-timestamp", b"")
        v2 = named.get("x-hubspot-signature-version") == b"v2"
        return b"v2 " + request.url.encode("latin-1") + request.body if v2 else b"v1 " + request.body
    prefixes = ("svix", "webhook") if provider == "svix" else ("webhook",)
    parts = [
        [named[f"{prefix}-{part}"] for prefix in prefixes if f"{prefix}-{part}" in named]
        for part in ("id", "timestamp")
    ]
    return b".".join([*(values[0] if values else b"" for values in parts), request.body])


def request_of(raw: bytes) -> Request:
    """Return the request in ``raw``: URL, a header a line, an empty line, body."""
    head, _, body = raw.partition(b"\n\n")
    url, *lines = head.decode("latin-1").split("\n")
    pairs = [line.partition(":") for line in lines]
    return Request("POST", url, [(name.strip().lower(), value.strip(" \t")) for name, _, value in pairs], body)


def text_of(request: Request) -> bytes:
    """Return what `request_of` reads as ``request``."""
    lines = [request.url, *(f"{name}: {value}" for name, value in request.headers)]
    return "\n".join(lines).encode("latin-1") + b"\n\n" + request.body


def _requests(provider: str) -> list[bytes]:
    """Return authentic requests; of HubSpot's also those whose older signature is the one that counts."""
    found = []
    for body in BODIES[provider]:
        request = _sign(_adapter(provider), body)
        if request is not None:
            found.append(text_of(request))
    if provider == "hubspot":
        found += [re.sub(rb"x-hubspot-(signature-v3|request-timestamp): .*\n", b"", seed) for seed in found]
    return found


TARGETS = (
    *(Target(f"{provider}-signed", signed(provider), BODIES[provider], _WORDS) for provider in SECRETS),
    *(Target(f"{provider}-hostile", hostile(provider), _requests(provider), _HEADER_WORDS) for provider in SECRETS),
)
