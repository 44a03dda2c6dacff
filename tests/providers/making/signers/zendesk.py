"""Zendesk: base64 of an HMAC over the timestamp and the body. No SDK of its own verifies."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.signer import Stamp


def _event(kind: str, **detail: object) -> dict[str, object]:
    return {
        "account_id": 22129848,
        "id": "2b24ef10-19db-4740-8a4b-5e6d5d7a1c2b",
        "type": f"zen:event-type:{kind}",
        "subject": "zen:ticket:5158",
        "time": "2026-09-21T14:13:18.000Z",
        "zendesk_event_version": "2022-11-06",
        "event": {},
        "detail": {"id": "5158", **detail},
    }


def _headers(number: int) -> tuple[tuple[str, str], ...]:
    return (
        ("X-Zendesk-Webhook-Id", "01F1KRQ4ZBSDAEVYJ9MT6JH0CK"),
        ("X-Zendesk-Webhook-Invocation-Id", f"8350205582{number}"),
    )


SIGNER = hmac_signer(
    header="X-Zendesk-Webhook-Signature",
    encoding="base64",
    content=lambda request, stamp: stamp.encode("utf-8", "surrogatepass") + request.body,
    stamp=Stamp(header="X-Zendesk-Webhook-Signature-Timestamp", unit="iso", old_seconds=3600),
    secret="dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3RpbmdfZXhhbXBsZXM=",
    other_secret="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    bodies=[
        Body("ticket.created", compact(_event("ticket.created", status="OPEN")), _headers(11)),
        Body("user.name_changed, with unicode", compact(_event("user.name_changed", name="Zoë 東京 🎫")), _headers(12)),
        Body("ticket.merged, over several lines", pretty(_event("ticket.merged")), _headers(13)),
        Body("article.published, escaped", spaced(_event("article.published", title="né")), _headers(14)),
        Body("a type that nobody knows", compact(_event("moon.waned")), _headers(15)),
        Body("of a trigger, without a type", compact({"ticket_id": "5158", "title": "x"}), _headers(16)),
    ],
)
