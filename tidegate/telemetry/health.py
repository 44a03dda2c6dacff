"""/livez, /readyz and /metrics of a process, as a Starlette application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tidegate.telemetry import shared

Check = Callable[[], Awaitable[dict[str, str]]]
"""Returns what is wrong, by the name of the part; empty when nothing is."""


async def fine() -> dict[str, str]:
    """The check of a process that has nothing to check."""
    return {}


def application(*, live: Check = fine, ready: Check = fine, more: Sequence[Route] = ()) -> Starlette:
    """Return the health endpoints: 200 ``ok``, or 503 with what is wrong. ``more`` is served beside them."""

    def probe(check: Check) -> Callable[[Request], Awaitable[Response]]:
        async def answer(_request: Request) -> Response:
            wrong = await check()
            return JSONResponse(
                {"status": "unavailable", **wrong} if wrong else {"status": "ok"}, 503 if wrong else 200
            )

        return answer

    async def metrics(_request: Request) -> Response:
        return Response(shared.exposition(), media_type=CONTENT_TYPE_LATEST)

    async def problem(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        title = error.detail if isinstance(error, HTTPException) else "Internal error"
        return JSONResponse(
            {"type": "about:blank", "title": title, "status": status},
            status,
            media_type="application/problem+json",
        )

    return Starlette(
        routes=[
            Route("/livez", probe(live)),
            Route("/readyz", probe(ready)),
            Route("/metrics", metrics),
            *more,
        ],
        exception_handlers={HTTPException: problem},
    )
