"""Sentry: an HMAC over the body. Its SDKs do not verify webhooks."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer


def _headers(resource: str, number: int) -> tuple[tuple[str, str], ...]:
    return (
        ("Sentry-Hook-Resource", resource),
        ("Sentry-Hook-Timestamp", "1789999999"),
        ("Request-ID", f"8f2b0c1d5e6f4a7b9c0d1e2f3a4b5c{number}"),
    )


def _event(action: str, **data: object) -> dict[str, object]:
    return {"action": action, "installation": {"uuid": "a8e5d37a-696c-4c54-adb5-b3f28d64c7de"}, "data": data}


SIGNER = hmac_signer(
    header="Sentry-Hook-Signature",
    secret="5c0f3d2e1b4a69788796a5b4c3d2e1f0",
    other_secret="00000000000000000000000000000000",
    bodies=[
        Body("issue.created", compact(_event("created", issue={"id": "1170820242"})), _headers("issue", 10)),
        Body(
            "error.created, with unicode", compact(_event("created", error={"title": "näh 💥"})), _headers("error", 11)
        ),
        Body(
            "event_alert.triggered, over several lines",
            pretty(_event("triggered", event={"issue_id": "1"})),
            _headers("event_alert", 12),
        ),
        Body("comment.created, escaped", spaced(_event("created", comment="olé")), _headers("comment", 13)),
        Body("a resource that nobody knows", compact(_event("waned", phase=3)), _headers("moon", 14)),
    ],
)
