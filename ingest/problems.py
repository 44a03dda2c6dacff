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
    location: str | None = None

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
        if self.location is not None:
            found.append((b"location", self.location.encode("latin-1", "replace")))
        return found


class ProblemError(Exception):
    """Ends a request with ``problem`` as its answer. ``reason`` and ``detail`` are for the operator, never the client."""

    def __init__(self, problem: Problem, reason: str = "", detail: str = "") -> None:
        super().__init__(problem.name)
        self.problem = problem
        self.reason = reason
        self.detail = detail


UNKNOWN_SOURCE = Problem(404, "unknown-source", "No such source")
TOO_SLOW = Problem(408, "too-slow", "The request took too long to arrive")
TOO_LARGE = Problem(413, "too-large", "The body is larger than this gate accepts")
TOO_MANY_EVENTS = Problem(413, "too-many-events", "The request holds more events than this gate accepts at once")
WRONG_TYPE = Problem(415, "unsupported-media-type", "This source does not take this content type")
WRONG_CODING = Problem(415, "unsupported-coding", "Send the body as it is, or compressed once with gzip or deflate")
UNAUTHORIZED = Problem(401, "unauthorized", "Signature missing, wrong or stale")
MALFORMED = Problem(400, "malformed", "The body is not what this provider sends")
NO_EVENT_ID = Problem(400, "no-event-id", "The event has no id to recognise it by")
NOT_HTTP = Problem(400, "not-http", "This is no request that HTTP/1.1 allows")
HEADERS_TOO_LARGE = Problem(431, "headers-too-large", "Request line and headers are larger than this gate accepts")
BAD_HOST = Problem(400, "bad-host", "The Host header is missing, repeated, or names no host")


def only(methods: str) -> Problem:
    """Return the answer to a method that this source's provider does not use."""
    return Problem(405, "method-not-allowed", f"Webhooks are sent with {methods.replace(', ', ' or ')}", allow=methods)


def not_https(location: str) -> Problem:
    """Return the redirect for what came in plain HTTP where only HTTPS is wanted; 308 keeps method and body."""
    return Problem(308, "not-https", "Use HTTPS", location=location)


def rate_limited(retry_after_seconds: int) -> Problem:
    """Return the answer for a source or an address that comes too often."""
    return Problem(429, "rate-limited", "Too many requests; try again later", retry_after_seconds)


def overloaded(retry_after_seconds: int) -> Problem:
    """Return the answer for a gate that has no room: nothing was taken, the same request is welcome later."""
    return Problem(503, "backlog-full", "Too many events wait; try again later", retry_after_seconds)


def paused(retry_after_seconds: int) -> Problem:
    """Return the answer of a source that is paused."""
    return Problem(503, "paused", "This source is paused; try again later", retry_after_seconds)


def too_many_connections(retry_after_seconds: int) -> Problem:
    """Return the answer for a connection there is no room for."""
    return Problem(503, "too-many-connections", "Too many connections; try again later", retry_after_seconds)


def unreadable(retry_after_seconds: int) -> Problem:
    """Return the answer for a request that we fail to read; 400 would tell a provider never to send it again."""
    return Problem(503, "failed", "The request could not be read for a reason of ours; try again", retry_after_seconds)


def nowhere_durable(retry_after_seconds: int) -> Problem:
    """Return the answer for a gate that cannot make an event durable."""
    return Problem(503, "not-durable", "The event cannot be stored now; try again later", retry_after_seconds)


def of_refusal(refused: RefusedError) -> Problem:
    """Return the answer for an adapter's refusal."""
    if refused.reason in UNAUTHENTIC:
        return UNAUTHORIZED
    return {"no_event_id": NO_EVENT_ID, "too_many_events": TOO_MANY_EVENTS}.get(refused.reason, MALFORMED)
