"""What went wrong with a request, told the same way by the API (as problem+json) and the console (as a page)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dlq.desk import CHANGES_PER_SECOND, TooManyChangesError
from dlq.query import UnacceptableError
from tidegate.postgres import Kind, classify
from tidegate.stream import UNAVAILABLE
from tidegate.telemetry import logs

log = logs.get(__name__)

RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that is an error. ``errors`` says which part of the request is wrong, and how."""

    status: int
    title: str
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: list[dict[str, str]] = field(default_factory=list)

    def response(self) -> Response:
        """Return the answer as RFC 9457 has it."""
        content: dict[str, Any] = {"type": "about:blank", "title": self.title, "status": self.status}
        if self.errors:
            content["errors"] = self.errors
        return JSONResponse(content, self.status, self.headers, media_type="application/problem+json")


UNAUTHORIZED = Problem(401, "Send the admin token: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"})
INTERNAL = Problem(500, "Internal error; the log says more")
_LATER = {"Retry-After": str(RETRY_AFTER_SECONDS)}


def of(error: Exception) -> Problem | None:
    """Return what ``error`` means to whoever sent the request; None: a fault of ours."""
    if isinstance(error, HTTPException):
        return Problem(error.status_code, error.detail, error.headers or {})
    if isinstance(error, UnacceptableError):
        return Problem(422, "The request cannot be understood", errors=error.errors)
    if isinstance(error, TooManyChangesError):
        return Problem(429, f"More than {CHANGES_PER_SECOND} changes a second", {"Retry-After": "1"})
    if isinstance(error, RedisError):
        return Problem(503, "Redis does not answer" if isinstance(error, UNAVAILABLE) else "Redis refuses", _LATER)
    kind = classify(error) if isinstance(error, psycopg.Error | OSError) else None
    if kind is Kind.TRANSIENT:
        return Problem(503, "Postgres does not answer" if isinstance(error, psycopg.Error) else "No connection", _LATER)
    if kind is Kind.SYSTEMIC:
        return Problem(503, "Postgres refuses", _LATER)
    return None


Show = Callable[[Request, Problem], Response]
Handler = Callable[[Request, Exception], Awaitable[Response]]


def handlers(show: Show) -> dict[Any, Handler]:
    """Return Starlette's exception handlers that answer with ``show``."""

    async def known(request: Request, error: Exception) -> Response:
        problem = of(error)
        if problem is None:
            raise error  # to `unknown`, and with its traceback to the log
        if problem.status >= 500:
            log.warning("request failed", path=request.url.path, title=problem.title, error=str(error))
        return show(request, problem)

    async def unknown(request: Request, _error: Exception) -> Response:
        return show(request, INTERNAL)

    expected = (HTTPException, UnacceptableError, TooManyChangesError, RedisError, psycopg.Error, OSError)
    return {**dict.fromkeys(expected, known), Exception: unknown}
