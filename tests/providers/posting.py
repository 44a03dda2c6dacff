"""Vectors posted to one gate on a socket, each received at its own moment."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from ingest.assembly import assemble, sources
from ingest.protocol import protocol
from tests.ingest.wire import Wire
from tests.providers.reading import Vector
from tidegate.serving import listen, server
from tidegate.settings import Settings
from tidegate.stream import Stream
from tidegate.telemetry import metrics

AT_ONCE = 32
_AT = b"x-vector-at"


@dataclass(frozen=True)
class Answered:
    """What a vector was answered."""

    vector: Vector
    status: int
    body: bytes


class _Clocked:
    """The gate, by a clock that a header sets: requests of different moments are under way at once."""

    def __init__(self) -> None:
        self._now: ContextVar[float] = ContextVar("now", default=0.0)
        self.gate: ASGIApp | None = None

    def clock(self) -> float:
        return self._now.get(time.time())  # what the gate writes down between requests is of no vector's time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.gate is not None
        given = dict(scope.get("headers", []))
        if _AT in given:
            self._now.set(float(given[_AT]))
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] != _AT]
        await self.gate(scope, receive, send)


async def posted(vectors: Sequence[Vector], stream: Stream) -> list[Answered]:
    """Return what each of ``vectors`` is answered by a gate over ``stream`` that has a source for every setting of theirs."""
    names: dict[str, str] = {}
    for vector in vectors:
        names.setdefault(_settings_of(vector), f"{vector.provider}-{len(names)}")
    settings = Settings.model_validate(
        {
            "sources": {name: json.loads(text) for text, name in names.items()},
            "ingest": {
                "header_bytes_max": 1_048_576
            },  # hostile headers are to reach the adapters, not the limit before them
            "stream": {"prefix": stream.keys[0].prefix, "shards": len(stream.keys)},
        }
    )
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(port: int, vector: Vector) -> Answered:
        async with limit, Wire(port) as wire:
            await wire.send(_bytes(vector, names[_settings_of(vector)]))
            answer = await wire.answer()
            return Answered(vector, answer.status, answer.body)

    async with _running(settings, stream) as port:
        return await asyncio.gather(*(one(port, vector) for vector in vectors))


@asynccontextmanager
async def _running(settings: Settings, stream: Stream) -> AsyncIterator[int]:
    configured = sources(settings)
    metrics.declare_sources(configured)
    clocked = _Clocked()
    parts = assemble(configured, stream, None, settings, clock=clocked.clock)
    clocked.gate = parts.gate
    listener = listen("127.0.0.1", 0)
    serving = server(clocked, http=protocol(parts.connections), trusted_proxies=settings.ingest.trusted_proxies)
    async with parts.running():
        task = asyncio.create_task(serving.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            serving.stop()
            await task


def _settings_of(vector: Vector) -> str:
    return json.dumps(vector.source, sort_keys=True)


def _bytes(vector: Vector, source: str) -> bytes:
    """Return the request as it goes over the wire: no client library would send half of these."""
    request = vector.request
    query = urlsplit(request.url).query
    target = f"/webhooks/{source}" + (f"?{query}" if query else "")
    lines = [f"{request.method} {target} HTTP/1.1", "host: gate", f"x-vector-at: {vector.at}"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    if request.body or request.method == "POST":
        lines.append(f"content-length: {len(request.body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + request.body
