"""Bitbucket Cloud: `sha256=` and an HMAC over the body. No SDK of its own verifies."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer


def _headers(event: str, number: int) -> tuple[tuple[str, str], ...]:
    return (
        ("X-Event-Key", event),
        ("X-Hook-UUID", "{9a3ad2fe-2e0f-4bbb-8d8d-0e2b3c4d5e6f}"),
        ("X-Request-UUID", f"7d7c6f52-9a3e-4c1b-8f6a-2b1c0d9e8f{number}"),
        ("X-Attempt-Number", "1"),
    )


def _event(**held: object) -> dict[str, object]:
    return {"actor": {"type": "user"}, "repository": {"full_name": "team/hello", "uuid": "{673a6070}"}, **held}


SIGNER = hmac_signer(
    header="X-Hub-Signature",
    mark="sha256=",
    secret="bb-Zk3Vq8YtR2nXw7Lp",
    other_secret="bb-0000000000000000",
    bodies=[
        Body("repo:push", compact(_event(push={"changes": []})), _headers("repo:push", 11)),
        Body(
            "pullrequest:created, with unicode",
            compact(_event(pullrequest={"title": "Grüße 🚀 世界"})),
            _headers("pullrequest:created", 12),
        ),
        Body("issue:updated, over several lines", pretty(_event(issue={"id": 1})), _headers("issue:updated", 13)),
        Body("repo:fork, escaped", spaced(_event(fork={"name": "né"})), _headers("repo:fork", 14)),
        Body("an event that nobody knows", compact(_event(moon="waned")), _headers("moon:waned", 15)),
    ],
)
