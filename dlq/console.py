"""The web console: the same letters and the same ledger as the API, for a person with a browser and no JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from uuid import UUID

import jinja2
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dlq import body, problems, query, readable
from dlq.access import SESSION, SESSION_SECONDS, Access, is_same_origin
from dlq.api import letter_id
from dlq.desk import IDS_MAX, Changed, Desk
from dlq.letters import REASONS, STATUSES, Filter
from dlq.overview import workers
from dlq.problems import Problem
from dlq.query import UnacceptableError
from tidegate import __version__

PAGE = 50
_RESULTS = ("replayed", "discarded", "skipped", "unknown")
"""What a change says on the page it returns to: counts in its address, since nothing is kept of a session."""
_NOT_FILTERS = (*_RESULTS, "select")

_MEANING = {
    "rejected": "The handler refused it.",
    "invalid": "Postgres will never take it as it is.",
    "orphaned": "What it belongs to never came.",
    "exhausted": "Every attempt failed.",
    "expired": "It became too old to be tried again.",
    "crash_loop": "Workers died of it, again and again.",
    "malformed": "The request was authentic, but no event could be read out of it.",
}


def application(desk: Desk, access: Access) -> Starlette:
    """Return the console, to be mounted at /. Without a session there is nothing but the page that makes one."""
    pages = _pages()
    console = _Console(desk, access, pages)

    def show(request: Request, problem: Problem) -> Response:
        return _page(pages, request, "error.html", problem.status, dict(problem.headers), problem=problem)

    return Starlette(
        routes=[
            Route("/", console.overview),
            Route("/letters", console.letters),
            Route("/letters", console.change, methods=["POST"]),
            Route("/letters/{id}", console.letter),
            Route("/letters/{id}/payload", console.payload),
            Route("/login", console.sign_in_page),
            Route("/login", console.sign_in, methods=["POST"]),
            Route("/logout", console.sign_out, methods=["POST"]),
        ],
        middleware=[Middleware(_Guard, access=access, show=show)],
        exception_handlers=problems.handlers(show),
    )


class _Guard:
    """Lets through who is signed in, and changes only from pages of ours."""

    def __init__(self, app: ASGIApp, access: Access, show: problems.Show) -> None:
        self._app = app
        self._access = access
        self._show = show

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await (self._refusal(Request(scope)) or self._app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        if request.method not in ("GET", "HEAD") and not is_same_origin(request.headers):
            return self._show(request, Problem(403, "This was not sent from a page of this console"))
        if request.url.path == "/login" or self._access.is_session(request.cookies.get(SESSION)):
            return None
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        # What a form would have changed is not done after signing in: whoever sent it looks again first.
        return _see(f"/login?next={quote(asked)}" if request.method == "GET" and asked != "/" else "/login")


class _Console:
    def __init__(self, desk: Desk, access: Access, pages: jinja2.Environment) -> None:
        self._desk = desk
        self._access = access
        self._pages = pages

    def _show(self, request: Request, page: str, status: int = 200, **values: Any) -> Response:
        return _page(self._pages, request, page, status, **values)

    async def overview(self, request: Request) -> Response:
        return self._show(
            request,
            "overview.html",
            overview=await self._desk.overview(),
            workers=workers(await self._desk.consumers()),
            live="live" in request.query_params,
        )

    async def letters(self, request: Request) -> Response:
        given = dict(request.query_params)
        filters = {"status": "open"} | {name: value for name, value in given.items() if name not in _NOT_FILTERS}
        wanted = query.read(filters.items())
        found, end = await self._desk.page(wanted.filter(), limit=PAGE, before=wanted.cursor)
        stats = await self._desk.stats(Filter())

        def link(**changed: str) -> str:
            return "/letters?" + urlencode({**filters, "cursor": filters.get("cursor", ""), **changed})

        return self._show(
            request,
            "letters.html",
            letters=found,
            filters=filters,
            link=link,
            next=query.encode_cursor(end) if end else None,
            select_all=given.get("select") == "all",
            filtered=any(value for name, value in filters.items() if name != "status"),
            sources=sorted({stat.source for stat in stats} | {filters.get("source", "")} - {""}),
            counts={status: sum(stat.count for stat in stats if stat.status == status) for status in STATUSES},
            reasons=REASONS,
            results=_results(request),
        )

    async def letter(self, request: Request) -> Response:
        letter = await self._desk.letter(letter_id(request))
        if letter is None:
            raise HTTPException(404, "No such letter")
        shown, left_out = readable.payload(letter.payload)
        return self._show(
            request,
            "letter.html",
            letter=letter,
            payload=shown,
            left_out=left_out,
            found=await self._desk.find(letter.source, letter.provider_event_id),
            meaning=_MEANING.get(letter.reason, ""),
            results=_results(request),
        )

    async def payload(self, request: Request) -> Response:
        letter = await self._desk.letter(letter_id(request))
        if letter is None:
            raise HTTPException(404, "No such letter")
        # As an attachment and of no type: bytes from outside must never be a page of this origin.
        headers = {"Content-Disposition": f'attachment; filename="{letter.id}.payload"'}
        return Response(letter.payload, headers=headers, media_type="application/octet-stream")

    async def change(self, request: Request) -> Response:
        form = await body.read_form(request)
        ids = _ids(form.get("id", []))
        back = _local(form.get("back", [""])[0]) or "/letters"
        action = form.get("action", [""])[0]
        if action not in ("replay", "discard"):
            raise UnacceptableError([{"name": "action", "problem": "neither replay nor discard"}])
        if not ids:
            return _see(_with_results(back, f"{action}ed", Changed([], [], [])))
        if action == "replay":
            return _see(_with_results(back, "replayed", await self._desk.replay(ids)))
        return _see(_with_results(back, "discarded", await self._desk.discard(ids)))

    async def sign_in_page(self, request: Request) -> Response:
        return self._show(request, "login.html", next=_local(request.query_params.get("next", "")), wrong=False)

    async def sign_in(self, request: Request) -> Response:
        form = await body.read_form(request)
        after = _local(form.get("next", [""])[0])
        if not self._access.is_token(form.get("token", [""])[0].strip()):
            return self._show(request, "login.html", 403, next=after, wrong=True)
        answer = _see(after or "/")
        answer.set_cookie(
            SESSION,
            self._access.new_session(),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    async def sign_out(self, _request: Request) -> Response:
        answer = _see("/login")
        answer.delete_cookie(SESSION, httponly=True, samesite="strict")
        return answer


def _pages() -> jinja2.Environment:
    """Return the templates: everything put into them is escaped, and what cannot be seen is made visible."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dlq"),
        autoescape=True,
        finalize=lambda value: (
            readable.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
        ),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "duration": readable.duration,
        "time": lambda moment: f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        "of_ms": lambda milliseconds: datetime.fromtimestamp(milliseconds / 1000, UTC),
        "number": "{:,}".format,
    }
    return environment


def _page(
    pages: jinja2.Environment,
    request: Request,
    name: str,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **values: Any,
) -> Response:
    now = datetime.now(UTC)

    def ago(moment: datetime) -> str:
        return readable.ago(moment, now)

    helpers: dict[str, Callable[[datetime], str]] = {"ago": ago}
    text = pages.get_template(name).render(path=request.url.path, now=now, version=__version__, **helpers, **values)
    return HTMLResponse(text, status, headers)


def _see(where: str) -> RedirectResponse:
    return RedirectResponse(where, 303)


def _local(address: str) -> str:
    """Return ``address`` if it is a path on this server, else nothing: a link must not send who signs in elsewhere."""
    local = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if local else ""


def _ids(given: list[str]) -> list[UUID]:
    if len(given) > IDS_MAX:
        raise UnacceptableError([{"name": "id", "problem": f"more than {IDS_MAX}"}])
    try:
        return list(dict.fromkeys(UUID(one) for one in given))
    except ValueError:
        raise UnacceptableError([{"name": "id", "problem": "not a UUID"}]) from None


def _with_results(back: str, verb: str, result: Changed) -> str:
    """Return ``back`` with the counts of a change in place of those of the change before."""
    address = urlsplit(back)
    kept = [(name, value) for name, value in parse_qsl(address.query, True) if name not in _NOT_FILTERS]
    counts = {verb: len(result.changed), "skipped": len(result.skipped), "unknown": len(result.unknown)}
    said = [(name, str(count)) for name, count in counts.items() if count or name == verb]
    return f"{address.path}?{urlencode(kept + said)}"


def _results(request: Request) -> dict[str, int]:
    given = {name: request.query_params.get(name, "") for name in _RESULTS}
    return {name: int(count) for name, count in given.items() if count.isascii() and count.isdigit() and len(count) < 4}
