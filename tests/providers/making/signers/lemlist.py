"""Lemlist: the hook's secret as a member of every body."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.tokens import body_secret_signer


def _event(kind: str, **held: object) -> dict[str, object]:
    return {
        "_id": "act_cQ7Rb2m",
        "type": kind,
        "createdAt": "2026-09-21T14:13:10.000Z",
        "teamId": "tea_1",
        "campaignId": "cam_1",
        "leadId": "lea_1",
        **held,
    }


SIGNER = body_secret_signer(
    member="secret",
    secret="whk_9b1deb4d-3b7d-4bad",
    other_secret="whk_00000000-0000-0000",
    bodies=[
        Body("emailsOpened", compact(_event("emailsOpened", leadEmail="ada@example.com"))),
        Body("emailsReplied, with unicode", compact(_event("emailsReplied", leadFirstName="Zoë 李", text='"ok" 👍'))),
        Body("linkedinInviteAccepted, over several lines", pretty(_event("linkedinInviteAccepted"))),
        Body("emailsBounced, escaped", spaced(_event("emailsBounced", bounceReason="boîte pleine"))),
        Body("a type that nobody knows", compact(_event("entityUnsubscribed", doNotContact="true"))),
    ],
)
