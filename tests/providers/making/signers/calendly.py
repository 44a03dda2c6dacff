"""Calendly: `t=...,v1=...` over `{t}.{body}`. No library for Python."""

from __future__ import annotations

from collections.abc import Iterator

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.signer import AT, Case, Signer, Stamp

HEADER = "Calendly-Webhook-Signature"
INVITEE = "https://api.calendly.com/scheduled_events/EV1/invitees/"


def more(signer: Signer) -> Iterator[Case]:
    good = signer.signed()
    value, other = good.value(HEADER), signer.signed(secret=signer.other_secret).value(HEADER).partition("v1=")[2]
    both = good.with_header(HEADER, f"t={AT},v1={other},v1={value.partition('v1=')[2]}")
    yield Case("two signatures, the second one right", both, valid=True)
    yield Case("the signature in Stripe's header", good.with_header(HEADER).with_header("Stripe-Signature", value))


def _event(kind: str, number: int, **held: object) -> dict[str, object]:
    return {
        "event": kind,
        "created_at": "2026-09-21T14:13:19.000000Z",
        "created_by": "https://api.calendly.com/users/U1",
        "payload": {"uri": f"{INVITEE}{number}", "email": "ada@example.com", "rescheduled": False, **held},
    }


SIGNER = hmac_signer(
    header=HEADER,
    mark="v1=",
    separator=",",
    content=lambda request, stamp: f"{stamp}.".encode() + request.body,
    stamp=Stamp(pair="t", old_seconds=180, ahead_seconds=180),
    secret="cal-5b8e1f0c2d7a4e93",
    other_secret="cal-0000000000000000",
    bodies=[
        Body("invitee.created", compact(_event("invitee.created", 1))),
        Body("invitee.canceled, with unicode", compact(_event("invitee.canceled", 2, name="Zoë Müller 東京 🚀"))),
        Body("invitee_no_show.created, over several lines", pretty(_event("invitee_no_show.created", 3))),
        Body("invitee.created, escaped", spaced(_event("invitee.created", 4, name="Ünal"))),
        Body("a type that nobody knows", compact({"event": "sundial.moved", "created_at": "2026-09-21T14:13:19Z"})),
    ],
    more=more,
)
