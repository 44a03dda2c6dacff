"""The admin API: /api, JSON, for whoever bears the admin token."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dlq import body, plain, problems, query
from dlq.access import Access
from dlq.desk import IDS_MAX, Changed, Desk
from dlq.events import Found
from dlq.query import UnacceptableError
from tidegate import __version__


def application(desk: Desk, access: Access) -> Starlette:
    """Return the API, to be mounted at /api. Without the token nothing is there, not even a 404."""
    return Starlette(
        routes=routes(desk),
        middleware=[Middleware(_Bearer, access=access)],
        exception_handlers=problems.handlers(lambda _request, problem: problem.response()),
    )


def routes(desk: Desk) -> list[Route]:
    """Return the routes, relative to /api; openapi.json describes each."""
    api = _Api(desk)
    return [
        Route("/dead-letters", api.dead_letters),
        Route("/dead-letters/replay", api.replay, methods=["POST"]),
        Route("/dead-letters/discard", api.discard, methods=["POST"]),
        Route("/dead-letters/{id}", api.dead_letter),
        Route("/ledger", api.ledger),
        Route("/overview", api.overview),
        Route("/consumers", api.consumers),
        Route("/events/{source}/{provider_event_id:path}", api.event),
        Route("/openapi.json", api.openapi),
    ]


class _Bearer:
    """Refuses every request that does not carry the token."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            app = self._app
            if not self._access.is_bearer(Request(scope).headers.get("authorization")):
                app = problems.UNAUTHORIZED.response()
            await app(scope, receive, send)


class _Ids(BaseModel):
    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[UUID], Field(min_length=1, max_length=IDS_MAX)]


class _Api:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def dead_letters(self, request: Request) -> Response:
        wanted = query.read(request.query_params.multi_items())
        found, end = await self._desk.page(wanted.filter(), limit=wanted.limit, before=wanted.cursor)
        return JSONResponse(
            {"items": [plain.summary(letter) for letter in found], "next": query.encode_cursor(end) if end else None}
        )

    async def dead_letter(self, request: Request) -> Response:
        letter = await self._desk.letter(letter_id(request))
        if letter is None:
            raise HTTPException(404, "No such letter")
        return JSONResponse(plain.whole(letter))

    async def replay(self, request: Request) -> Response:
        return _changed("replayed", await self._desk.replay(await _ids(request)))

    async def discard(self, request: Request) -> Response:
        return _changed("discarded", await self._desk.discard(await _ids(request)))

    async def ledger(self, _request: Request) -> Response:
        return JSONResponse((await self._desk.audit()).as_dict())

    async def overview(self, _request: Request) -> Response:
        return JSONResponse((await self._desk.overview()).as_dict())

    async def consumers(self, _request: Request) -> Response:
        return JSONResponse({"items": [asdict(consumer) for consumer in await self._desk.consumers()]})

    async def event(self, request: Request) -> Response:
        source, provider_event_id = request.path_params["source"], request.path_params["provider_event_id"]
        found = await self._desk.find(source, provider_event_id)
        if found is None:
            raise HTTPException(404, "Neither applied nor a dead letter: still on its way, or never accepted")
        return JSONResponse({"source": source, "provider_event_id": provider_event_id, **_found(found)})

    async def openapi(self, _request: Request) -> Response:
        return JSONResponse(document())


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document, with the version of this process."""
    found: dict[str, Any] = json.loads(resources.files("dlq").joinpath("openapi.json").read_text(encoding="utf-8"))
    found["info"]["version"] = __version__
    return found


def letter_id(request: Request) -> UUID:
    """Return the id in the path; raise UnacceptableError when it is no UUID."""
    try:
        return UUID(request.path_params["id"])
    except ValueError:
        raise UnacceptableError([{"name": "id", "problem": "not a UUID"}]) from None


async def _ids(request: Request) -> list[UUID]:
    try:
        ids = _Ids.model_validate_json(await body.read(request)).ids
    except ValidationError as error:
        raise UnacceptableError.of(error) from None
    return list(dict.fromkeys(ids))


def _changed(verb: str, result: Changed) -> Response:
    return JSONResponse(
        {
            verb: [str(changed) for changed in result.changed],
            "unknown": [str(unknown) for unknown in result.unknown],
            "skipped": [str(skipped) for skipped in result.skipped],
        }
    )


def _found(found: Found) -> dict[str, Any]:
    return {
        "where": found.where,
        "event": _plain(asdict(found.record)) if found.record else None,
        "letters": [_plain(asdict(letter)) for letter in found.letters],
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain_value(value) for name, value in row.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
