"""Linear: an HMAC over the body, which holds the time of sending in milliseconds. Its SDK is for Node.js."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.signer import Stamp

MARK = "@stamp@"


def _event(kind: str, action: str, **data: object) -> dict[str, object]:
    return {
        "action": action,
        "type": kind,
        "createdAt": "2026-09-21T14:13:19.000Z",
        "organizationId": "2a4b",
        "webhookId": "wh_1",
        "webhookTimestamp": MARK,
        "data": {"id": "d1", **data},
    }


def _unquoted(body: bytes) -> bytes:
    """Return ``body`` with a number where the time is, as Linear has it."""
    return body.replace(b'"@stamp@"', b"@stamp@")


def _headers(kind: str, number: int) -> tuple[tuple[str, str], ...]:
    return (("Linear-Event", kind), ("Linear-Delivery", f"234d1a4e-b617-4388-90fe-adc3633d6b{number}"))


SIGNER = hmac_signer(
    header="Linear-Signature",
    secret="lin_wh_5CpMDRx4ZtD0hJ2vJq3nUQ8e",
    other_secret="lin_wh_000000000000000000000000",
    stamp=Stamp(unit="ms", old_seconds=60, ahead_seconds=60),
    bodies=[
        Body("Issue.create", _unquoted(compact(_event("Issue", "create", title="Fix it"))), _headers("Issue", 11)),
        Body(
            "Comment.update, with unicode",
            _unquoted(compact(_event("Comment", "update", body="schön 👍 日本"))),
            _headers("Comment", 12),
        ),
        Body(
            "Project.remove, over several lines",
            _unquoted(pretty(_event("Project", "remove", name="Q4"))),
            _headers("Project", 13),
        ),
        Body(
            "IssueLabel.create, escaped",
            _unquoted(spaced(_event("IssueLabel", "create", name="né"))),
            _headers("IssueLabel", 14),
        ),
        Body("a type that nobody knows", _unquoted(compact(_event("Moon", "eclipse"))), _headers("Moon", 15)),
    ],
)
