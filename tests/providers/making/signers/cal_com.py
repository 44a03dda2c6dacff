"""Cal.com: an HMAC over the body. Its SDK does not verify webhooks."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer


def _event(trigger: str, **payload: object) -> dict[str, object]:
    return {
        "triggerEvent": trigger,
        "createdAt": "2026-09-21T14:13:18.538Z",
        "payload": {"type": "60min", "uid": "bFJeNb2uX8ANpT3JL5EfXw", "bookingId": 91, **payload},
    }


SIGNER = hmac_signer(
    header="X-Cal-Signature-256",
    secret="cal-Zk3Vq8YtR2nXw7Lp",
    other_secret="cal-0000000000000000",
    bodies=[
        Body("BOOKING_CREATED", compact(_event("BOOKING_CREATED", status="ACCEPTED"))),
        Body("BOOKING_CANCELLED, with unicode", compact(_event("BOOKING_CANCELLED", reason="krank 🤒 病気"))),
        Body("MEETING_ENDED, over several lines", pretty(_event("MEETING_ENDED"))),
        Body("FORM_SUBMITTED, escaped", spaced(_event("FORM_SUBMITTED", name="né"))),
        Body("a trigger that nobody knows", compact(_event("MOON_WANED"))),
    ],
)
