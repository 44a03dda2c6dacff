"""Outreach: HMAC over the body, in hexadecimal. No library for Python."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer

KIND = "application/vnd.api+json"
HEADERS = (("Outreach-Webhook-ID", "0f2f6c1e-6f0d-4a2c-9d7e-58f57a9f1b23"),)


def _event(name: str, number: int, /, **attributes: object) -> dict[str, object]:
    return {
        "data": {"type": name.partition(".")[0], "id": number, "attributes": attributes},
        "meta": {"deliveredAt": "2026-09-21T14:13:19.000+00:00", "eventName": name},
    }


SIGNER = hmac_signer(
    header="Outreach-Webhook-Signature",
    secret="or-41f6e0c29b7d8a53",
    other_secret="or-0000000000000000",
    bodies=[
        Body("mailing.opened", compact(_event("mailing.opened", 1, openCount=1)), HEADERS, KIND),
        Body("prospect.updated, with unicode", compact(_event("prospect.updated", 2, name="Zoë 李 🚀")), HEADERS, KIND),
        Body("sequenceState.finished, over several lines", pretty(_event("sequenceState.finished", 3)), HEADERS, KIND),
        Body("mailing.replied, escaped", spaced(_event("mailing.replied", 4, note="déjà vu")), HEADERS, KIND),
        Body("task.completed, as plain JSON", compact(_event("task.completed", 5)), HEADERS),
        Body("a type that nobody knows", compact(_event("comet.sighted", 6)), HEADERS, KIND),
    ],
)
