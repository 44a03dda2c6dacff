"""Ashby: `sha256=` and an HMAC over the body. Its SDK does not verify webhooks."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer


def _event(action: str, **data: object) -> dict[str, object]:
    application = {"id": "a5ab2c0e", "updatedAt": "2026-09-21T14:13:18.000Z", **data}
    return {"action": action, "data": {"application": application}}


SIGNER = hmac_signer(
    header="Ashby-Signature",
    mark="sha256=",
    secret="ashby-Zk3Vq8YtR2nXw7Lp",
    other_secret="ashby-0000000000000000",
    bodies=[
        Body("applicationSubmit", compact(_event("applicationSubmit", status="Active"))),
        Body("candidateHire, with unicode", compact(_event("candidateHire", name="Zoë 株式会社 🚀"))),
        Body("candidateStageChange, over several lines", pretty(_event("candidateStageChange"))),
        Body("offerCreate, escaped", spaced(_event("offerCreate", note="né"))),
        Body("the ping that comes when a webhook is made", compact({"action": "ping", "data": {"webhookType": "x"}})),
        Body("an action that nobody knows", compact(_event("moonWaned"))),
    ],
)
