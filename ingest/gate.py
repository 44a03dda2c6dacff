"""The gate: `POST /webhooks/{source}` becomes deliveries on the stream, and 202 once Redis has them.

The hot route is a plain ASGI callable: routing through a framework costs as much again as all the rest of a request.
Everything else is handed on.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from ingest import problems
from ingest.adapters.base import Adapter, Parsed, RefusedError, Request
from ingest.appender import Appender, NotDurableError, OverloadedError
from ingest.problems import ProblemError
from tidegate.event import Delivery, Event
from tidegate.stream import Appendable
from tidegate.telemetry import logs, metrics, redaction
from tidegate.wire import encode_meta

log = logs.get(__name__)

_ROUTE = "/webhooks/"
_YEAR_10000_MS = 253_402_300_800_000


@dataclass(frozen=True, slots=True)
class Source:
    """A configured endpoint: its adapter, and the URL its provider signs."""

    name: str
    adapter: Adapter
    public_url: str | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may bring."""

    body_bytes_max: int
    events_max: int
    retry_after_seconds: int


class Gate:
    """The ASGI application. ``rest`` answers whatever is not a webhook: health, metrics, 404."""

    def __init__(self, sources: Mapping[str, Source], appender: Appender, limits: Limits, rest: ASGIApp) -> None:
        self._sources = sources
        self._appender = appender
        self._limits = limits
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_ROUTE):
            await self._rest(scope, receive, send)
            return
        started = time.perf_counter()
        name = scope["path"][len(_ROUTE) :]
        try:
            status, headers, body = await self._webhook(name, scope, receive)
        except ProblemError as error:
            problem = error.problem
            status, headers, body = problem.status, problem.headers(), problem.body()
        except Exception:
            log.exception("a webhook failed for a reason of ours", source=metrics.source_label(name))
            problem = problems.nowhere_durable(self._limits.retry_after_seconds)
            status, headers, body = problem.status, problem.headers(), problem.body()
        headers.append((b"content-length", str(len(body)).encode()))
        if status >= 400:
            # What is left of a body we did not read must not be taken for the next request.
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
        metrics.INGEST_REQUESTS.labels(metrics.source_label(name), str(status)).inc()
        metrics.INGEST_SECONDS.observe(time.perf_counter() - started)

    async def _webhook(self, name: str, scope: Scope, receive: Receive) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        source = self._sources.get(name)
        if source is None:
            raise ProblemError(problems.UNKNOWN_SOURCE)
        if scope["method"] != "POST":
            raise ProblemError(problems.ONLY_POST)
        headers = [(key.decode("latin-1").lower(), value.decode("latin-1")) for key, value in scope["headers"]]
        self._check_headers(headers)
        body = await self._body(receive)
        request = Request("POST", _url(source, scope), headers, body)
        try:
            source.adapter.verify(request, time.time())
            parsed = source.adapter.split(request)
            if len(parsed) > self._limits.events_max:
                raise RefusedError("too_many_events", str(len(parsed)))
        except RefusedError as refused:
            log.info("refused", source=name, reason=refused.reason, detail=refused.detail, bytes=len(body))
            raise ProblemError(problems.of_refusal(refused)) from None
        return await self._accept(source, parsed, headers)

    def _check_headers(self, headers: list[tuple[str, str]]) -> None:
        for key, value in headers:
            if key == "content-type":
                kind = value.partition(";")[0].strip().lower()
                if kind != "application/json" and not kind.endswith("+json"):
                    raise ProblemError(problems.NOT_JSON_TYPE)
            elif key == "content-encoding" and value.strip().lower() not in ("", "identity"):
                raise ProblemError(problems.NOT_JSON_TYPE)
            elif key == "content-length" and value.isdecimal() and int(value) > self._limits.body_bytes_max:
                raise ProblemError(problems.TOO_LARGE)

    async def _body(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ProblemError(problems.MALFORMED)  # nobody is left to read the answer; the metric counts it
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._limits.body_bytes_max:
                raise ProblemError(problems.TOO_LARGE)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _accept(
        self, source: Source, parsed: list[Parsed], headers: list[tuple[str, str]]
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        now_ms = time.time_ns() // 1_000_000
        kept = redaction.headers(headers)
        deliveries = [_delivery(source, item, kept, now_ms) for item in parsed]
        items = [
            Appendable(source.name, item.provider_event_id, encode_meta(delivery), item.payload)
            for item, delivery in zip(parsed, deliveries, strict=True)
        ]
        try:
            new = await self._appender.append(items)
        except OverloadedError:
            raise ProblemError(problems.overloaded(self._limits.retry_after_seconds)) from None
        except NotDurableError as error:
            log.warning("Redis did not take events; the provider is asked to come back", error=str(error)[:300])
            raise ProblemError(problems.nowhere_durable(self._limits.retry_after_seconds)) from None
        ids = [str(delivery.event.delivery_id) for delivery, flag in zip(deliveries, new, strict=True) if flag]
        answer = {"accepted": len(ids), "duplicates": len(new) - len(ids), "ids": ids}
        return (
            202,
            [(b"content-type", b"application/json"), (b"tidegate-durability", b"redis")],
            json.dumps(answer).encode(),
        )


def _url(source: Source, scope: Scope) -> str:
    """Return the URL as the provider signed it: what it was told, and the query string it called us with."""
    query = scope["query_string"].decode("latin-1")
    if source.public_url is not None:
        base = source.public_url
    else:
        host = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"host"), "")
        path: Any = scope.get("raw_path") or scope["path"].encode()
        base = f"{scope['scheme']}://{host}{path.decode('latin-1')}"
    return f"{base}?{query}" if query else base


def _delivery(source: Source, parsed: Parsed, headers: Mapping[str, str], now_ms: int) -> Delivery:
    occurred_ms = parsed.occurred_at_ms
    if occurred_ms is None or not 0 <= occurred_ms < _YEAR_10000_MS:
        occurred_ms = now_ms
    event = Event(
        source=source.name,
        provider=source.adapter.provider,
        provider_event_id=parsed.provider_event_id,
        event_type=parsed.event_type,
        occurred_at_ms=occurred_ms,
        received_at_ms=now_ms,
        key=parsed.key,
        payload=parsed.payload,
        delivery_id=uuid.uuid4(),
        headers=headers,
    )
    return Delivery(event, malformed=parsed.malformed)
