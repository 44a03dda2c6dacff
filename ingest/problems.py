"""Errors as RFC 9457 problem+json. They tell a client what to change, never what was wrong with a signature."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ingest.adapters.base import UNAUTHENTIC, RefusedError


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer other than 202. ``retry_after_seconds`` becomes Retry-After."""

    status: int
    name: str
    title: str
    retry_after_seconds: int | None = None
    allow: str | None = None

    def body(self) -> bytes:
        """Return the problem+json document."""
        return json.dumps(
            {"type": f"urn:tidegate:problem:{self.name}", "title": self.title, "status": self.status}
        ).encode()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that go with it."""
        found = [(b"content-type", b"application/problem+json")]
        if self.retry_after_seconds is not None:
            found.append((b"retry-after", str(self.retry_after_seconds).encode()))
        if self.allow is not None:
            found.append((b"allow", self.allow.encode()))
        return found


class ProblemError(Exception):
    """Ends a request with ``problem`` as its answer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.name)
        self.problem = problem


UNKNOWN_SOURCE = Problem(404, "unknown-source", "No such source")
ONLY_POST = Problem(405, "method-not-allowed", "Webhooks are sent with POST", allow="POST")
TOO_LARGE = Problem(413, "too-large", "The body is larger than this gate accepts")
NOT_JSON_TYPE = Problem(415, "unsupported-media-type", "Send application/json, not compressed")
UNAUTHORIZED = Problem(401, "unauthorized", "Signature missing, wrong or stale")
MALFORMED = Problem(400, "malformed", "The body is not what this provider sends")
NO_EVENT_ID = Problem(400, "no-event-id", "The event has no id to recognise it by")
TOO_MANY_EVENTS = Problem(413, "too-many-events", "The request holds more events than this gate accepts at once")


def overloaded(retry_after_seconds: int) -> Problem:
    """Return the answer for a gate that has no room: nothing was taken, the same request is welcome later."""
    return Problem(503, "backlog-full", "Too many events wait; try again later", retry_after_seconds)


def nowhere_durable(retry_after_seconds: int) -> Problem:
    """Return the answer for a gate that cannot make an event durable."""
    return Problem(503, "not-durable", "The event cannot be stored now; try again later", retry_after_seconds)


def of_refusal(refused: RefusedError) -> Problem:
    """Return the answer for an adapter's refusal."""
    if refused.reason in UNAUTHENTIC:
        return UNAUTHORIZED
    return {"no_event_id": NO_EVENT_ID, "too_many_events": TOO_MANY_EVENTS}.get(refused.reason, MALFORMED)
