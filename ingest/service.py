"""The gate as a process: connect, listen, serve, leave."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack

from ingest import memory
from ingest.assembly import assemble, sources, streams
from ingest.leaving import Leaving
from ingest.link import Link
from ingest.protocol import protocol
from ingest.starting import inbox_pool, start
from tidegate.errors import UsageError
from tidegate.serving import server
from tidegate.settings import Settings
from tidegate.stream import connect
from tidegate.telemetry import logs, metrics

__all__ = ["serve", "sources"]

log = logs.get(__name__)


async def serve(
    settings: Settings, listener: socket.socket, *, parent: Link | None = None, outlived: bool = False
) -> None:
    """Serve webhooks on ``listener`` until SIGTERM or SIGINT, or until ``parent`` says so, then leave (leaving.py).

    ``outlived``: somebody else goes on holding ``listener``. Raises UsageError or UnreachableError before the first
    request is accepted.
    """
    configured = sources(settings)
    if not configured:
        raise UsageError("no sources: add [sources.NAME] with provider and secrets to tidegate.toml")
    metrics.declare_sources(configured)
    memory.give_back_early()
    ingest = settings.ingest
    async with AsyncExitStack() as stack:
        call_seconds = min(settings.stream.timeout_seconds, ingest.append_seconds)
        client = connect(settings.require_redis(), timeout_seconds=call_seconds)
        stack.push_async_callback(client.aclose)
        pool = inbox_pool(settings)
        if pool is not None:
            await stack.enter_async_context(pool)
        parts = assemble(configured, streams(client, settings), pool, settings)
        await start(settings, client, parts.tiers)
        gate = server(
            parts.gate,
            drain_seconds=ingest.drain_seconds,
            http=protocol(parts.connections),
            keep_alive_seconds=round(ingest.keep_alive_seconds),
            trusted_proxies=ingest.trusted_proxies,
        )
        leaving = Leaving(
            gate,
            listener,
            notice_seconds=ingest.notice_seconds,
            unready=parts.readiness.stop,
            close_each=parts.connections.leave,
            outlived=outlived,
        )
        address = listener.getsockname()
        memory.freeze()
        async with parts.running():
            log.info("gate listens", host=address[0], port=address[1], sources=sorted(configured))
            await leaving.serve(parent)
        log.info("gate stopped")
