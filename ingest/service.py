"""The gate as a process: connect, listen, serve, drain."""

from __future__ import annotations

import socket
import time

from redis.exceptions import RedisError

from ingest import adapters
from ingest.appender import Appender
from ingest.gate import Gate, Limits, Source
from ingest.leaving import Leaving
from ingest.link import Link
from tidegate.errors import UsageError
from tidegate.serving import server
from tidegate.settings import Settings
from tidegate.stream import UNAVAILABLE, Client, Stream, connect, require
from tidegate.telemetry import health, logs, metrics

log = logs.get(__name__)


def sources(settings: Settings) -> dict[str, Source]:
    """Return the configured sources with their adapters; raise UsageError for one that cannot work."""
    found: dict[str, Source] = {}
    for name, source in settings.sources.items():
        secrets = source.read_secrets(name)
        try:
            adapter = adapters.build(
                source.provider, secrets, tolerance_seconds=source.tolerance_seconds, options=source.options
            )
        except UsageError as error:
            raise UsageError(f"source {name!r}: {error}") from None
        found[name] = Source(name, adapter, source.public_url)
    return found


class _Readiness:
    """Whether Redis answers, asked at most once a second however often we are."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked_at = float("-inf")
        self._wrong: dict[str, str] = {}
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True

    async def __call__(self) -> dict[str, str]:
        if self._stopping:
            return {"gate": "stopping"}
        if time.monotonic() - self._asked_at > 1:
            try:
                await self._client.ping()
                self._wrong = {}
            except (*UNAVAILABLE, RedisError) as error:
                self._wrong = {"redis": type(error).__name__}
            self._asked_at = time.monotonic()
        return self._wrong


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
    url = settings.require_redis()
    client = connect(url, timeout_seconds=settings.stream.timeout_seconds)
    try:
        await require(client, url)
        stream = Stream.of(client, settings.stream)
        appender = Appender(
            stream,
            backlog_max=settings.stream.backlog_max,
            pending_max=settings.ingest.pending_max,
            events_max=settings.ingest.append_events_max,
        )
        ready = _Readiness(client)
        limits = Limits(settings.ingest.body_bytes_max, settings.ingest.events_max, settings.ingest.retry_after_seconds)
        gate = server(
            Gate(configured, appender, limits, health.application(ready=ready)),
            drain_seconds=settings.ingest.drain_seconds,
        )
        leaving = Leaving(
            gate, listener, notice_seconds=settings.ingest.notice_seconds, unready=ready.stop, outlived=outlived
        )
        address = listener.getsockname()
        log.info("gate listens", host=address[0], port=address[1], sources=sorted(configured))
        await leaving.serve(parent)
        await appender.drain()
        log.info("gate stopped")
    finally:
        await client.aclose()
