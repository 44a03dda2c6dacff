"""The gate as a process: connect, listen, serve, drain."""

from __future__ import annotations

import socket
import time
from contextlib import AsyncExitStack

from redis.exceptions import RedisError

from ingest.assembly import assemble, sources, streams
from ingest.fuse import Fuse
from ingest.inboxing import Inboxing
from ingest.tiers import Tiers
from tidegate import postgres
from tidegate.errors import UnreachableError, UsageError
from tidegate.postgres import Pool, schema
from tidegate.serving import Server, on_stop_signals, server
from tidegate.settings import Settings
from tidegate.stream import UNAVAILABLE, Client, connect, promises, require
from tidegate.telemetry import health, logs, metrics

__all__ = ["serve", "sources"]

log = logs.get(__name__)


class _Readiness:
    """Whether a 202 is possible, asked at most once a second however often we are."""

    def __init__(self, client: Client, tiers: Tiers) -> None:
        self._client = client
        self._tiers = tiers
        self._asked_at = float("-inf")
        self.stopping = False

    async def __call__(self) -> dict[str, str]:
        if self.stopping:
            return {"gate": "stopping"}
        # Without traffic nobody else notices that Redis is away.
        if self._tiers.fuse.is_whole() and time.monotonic() - self._asked_at > 1:
            try:
                await self._client.ping()
            except (*UNAVAILABLE, RedisError) as error:
                self._tiers.fuse.blow(error)
            self._asked_at = time.monotonic()
        return self._tiers.why_not()


async def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve webhooks on ``listener`` until SIGTERM or SIGINT, then finish the requests under way.

    Raises UsageError or UnreachableError before the first request is accepted. A gate whose Redis is away starts all the
    same where it has an inbox.
    """
    configured = sources(settings)
    if not configured:
        raise UsageError("no sources: add [sources.NAME] with provider and secrets to tidegate.toml")
    metrics.declare_sources(configured)
    url = settings.require_redis()
    async with AsyncExitStack() as stack:
        client = connect(url, timeout_seconds=min(settings.stream.timeout_seconds, settings.ingest.append_seconds))
        stack.push_async_callback(client.aclose)
        pool = _inbox_pool(settings)
        if pool is not None:
            await stack.enter_async_context(pool)
        ready: _Readiness

        async def is_ready() -> dict[str, str]:
            return await ready()

        parts = assemble(
            configured, streams(client, settings), pool, settings, rest=lambda tiers: health.application(ready=is_ready)
        )
        ready = _Readiness(client, parts.tiers)
        await _start(settings, client, url, parts.tiers)
        gate: Server = server(parts.gate, drain_seconds=settings.ingest.drain_seconds)

        def stop() -> None:
            ready.stopping = True
            gate.stop()

        on_stop_signals(stop)
        address = listener.getsockname()
        async with parts.running():
            log.info("gate listens", host=address[0], port=address[1], sources=sorted(configured))
            await gate.serve(sockets=[listener])
        log.info("gate stopped")


def _inbox_pool(settings: Settings) -> Pool | None:
    """Return a closed pool for the inbox, None where there is to be none; say so, since it is a promise less."""
    if settings.ingest.inbox_rows_max and settings.postgres_url is not None:
        limits = settings.postgres.model_copy(update={"connect_timeout_seconds": settings.ingest.inbox_seconds})
        return postgres.pool(settings.require_postgres(), limits, "tidegate ingest", max_size=2)
    why = "TIDEGATE_POSTGRES_URL is not set" if settings.ingest.inbox_rows_max else "ingest.inbox_rows_max is 0"
    log.warning("no inbox: while Redis is away events are refused with 503", why=why)
    return None


async def _start(settings: Settings, client: Client, url: str, tiers: Tiers) -> None:
    """Look whether the tiers are there; raise what is wrong when no 202 is possible, or never will be."""
    if tiers.inboxing is not None:
        await _try_inbox(settings, tiers.inboxing.fuse)
    try:
        await require(client, url)
        await _warn(settings, client)
    except UnreachableError as error:
        if _is_without_inbox(tiers.inboxing):
            raise
        tiers.fuse.blow(error)
    except (*UNAVAILABLE, RedisError) as error:  # it answered a moment ago
        tiers.fuse.blow(error)


def _is_without_inbox(inboxing: Inboxing | None) -> bool:
    return inboxing is None or bool(inboxing.why_not())


async def _try_inbox(settings: Settings, fuse: Fuse) -> None:
    """The inbox is the second tier: the gate works without, and goes on asking for it."""
    limits = settings.postgres.model_copy(update={"connect_timeout_seconds": settings.ingest.inbox_seconds})
    try:
        async with await postgres.connect(settings.require_postgres(), limits, "tidegate ingest") as connection:
            await schema.check(connection)
    except (UnreachableError, UsageError) as error:
        fuse.blow(error)


async def _warn(settings: Settings, client: Client) -> None:
    """Say at once when a 202 promises less than it should: nobody runs `tidegate doctor` before the crash."""
    for promise in await promises.look(client, replicas=settings.ingest.wait_replicas):
        if promise.remedy:
            log.warning(
                "a 202 is not as durable as it should be", setting=promise.what, found=promise.found, do=promise.remedy
            )
