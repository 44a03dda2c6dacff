"""Smartlead: the webhook's key as a member of every body."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.tokens import body_secret_signer


def _event(kind: str, **held: object) -> dict[str, object]:
    return {
        "event_type": kind,
        "event_timestamp": "2026-09-21T14:13:19.000Z",
        "stats_id": "c9d2",
        "campaign_id": 111,
        "to_email": "ada@example.com",
        **held,
    }


OTHER = {"event": "EMAIL_OPENED", "timestamp": "2026-09-21T14:13:19Z", "campaign_id": 123, "lead_id": 789}
SIGNER = body_secret_signer(
    member="secret_key",
    secret="sk-3f2a9c1d7b",
    other_secret="sk-0000000000",
    bodies=[
        Body("EMAIL_OPEN", compact(_event("EMAIL_OPEN"))),
        Body("EMAIL_REPLY, with unicode", compact(_event("EMAIL_REPLY", reply_body="Olé 👋 你好"))),
        Body("LEAD_UNSUBSCRIBED, over several lines", pretty(_event("LEAD_UNSUBSCRIBED"))),
        Body("EMAIL_BOUNCE, escaped", spaced(_event("EMAIL_BOUNCE", reason="boîte pleine"))),
        Body("EMAIL_OPENED, in the other names", compact(OTHER)),
        Body("a type that nobody knows", compact(_event("LEAD_LEVITATED"))),
    ],
)
