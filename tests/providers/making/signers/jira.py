"""Jira Cloud: `sha256=` and an HMAC over the body. No SDK of its own verifies."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.signer import AT


def _event(kind: str, **held: object) -> dict[str, object]:
    return {"timestamp": AT * 1000 - 900, "webhookEvent": kind, "user": {"accountId": "99:27935d01"}, **held}


def _headers(number: int) -> tuple[tuple[str, str], ...]:
    return (("X-Atlassian-Webhook-Identifier", f"1b0f4c2e-{number}"),)


SIGNER = hmac_signer(
    header="X-Hub-Signature",
    mark="sha256=",
    secret="It's a Secret to Everybody",
    other_secret="It's a Secret to Nobody",
    bodies=[
        Body("jira:issue_updated", compact(_event("jira:issue_updated", issue={"id": "99291"})), _headers(1)),
        Body("comment_created, with unicode", compact(_event("comment_created", comment="läuft 🎉 了解")), _headers(2)),
        Body("sprint_started, over several lines", pretty(_event("sprint_started", sprint={"id": 7})), _headers(3)),
        Body("project_created, escaped", spaced(_event("project_created", project={"name": "né"})), _headers(4)),
        Body("an event that nobody knows", compact(_event("moon_waned")), _headers(5)),
        Body("without an identifier", compact(_event("worklog_updated"))),
    ],
)
