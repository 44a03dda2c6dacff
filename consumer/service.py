"""The worker as a process: connect, check, work, leave."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import AsyncExitStack

from redis.exceptions import RedisError

from consumer import engagement
from consumer.apply import Applier
from consumer.intake import Intake
from consumer.outcome import Schedule
from consumer.upkeep import Upkeep
from consumer.worker import Worker
from tidegate import postgres
from tidegate.handlers import Handlers
from tidegate.loading import load_handlers
from tidegate.postgres import schema
from tidegate.serving import on_stop_signals, server
from tidegate.settings import RetrySettings, Settings
from tidegate.stream import UNAVAILABLE, Stream, connect, require
from tidegate.telemetry import health, logs, metrics

log = logs.get(__name__)

_LIVE_SECONDS = 600.0
"""A lane that has not turned for this long hangs in a handler. Generous: a batch of slow handlers is no reason to be killed,
and a handler that blocks the loop keeps /livez from answering at all."""


def schedule_of(settings: RetrySettings) -> Schedule:
    """Return the retry schedule ``settings`` describe."""
    return Schedule([int(delay * 1000) for delay in settings.delays_seconds], settings.jitter_ms)


def handlers_of(settings: Settings) -> Handlers:
    """Return the handlers ``settings`` name; the engagement read model when they name none."""
    if settings.consumer.handlers is None:
        return engagement.handlers(settings.engagement)
    return load_handlers(settings.consumer.handlers)


async def consume(settings: Settings, metrics_listener: socket.socket | None, *, drain: bool = False) -> None:
    """Work until SIGTERM or SIGINT; a second one leaves at once, which loses nothing. ``drain``: or until all is done.

    Raises UsageError or UnreachableError before the first read, and UnreachableError when a server stays away.
    """
    handlers = handlers_of(settings)
    schedule = schedule_of(settings.retry)
    metrics.declare_sources(settings.sources)
    redis_url, postgres_url = settings.require_redis(), settings.require_postgres()
    consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    options = settings.consumer
    async with AsyncExitStack() as stack:
        timeout = settings.stream.timeout_seconds
        client = connect(redis_url, timeout_seconds=timeout)
        stack.push_async_callback(client.aclose)
        reader = connect(redis_url, timeout_seconds=timeout, block_seconds=options.block_ms / 1000)
        stack.push_async_callback(reader.aclose)
        await require(client, redis_url)
        async with await postgres.connect(postgres_url, settings.postgres, "tidegate consume") as probe:
            await schema.check(probe)
        size = max(settings.postgres.pool_max, options.concurrency + 2)
        pool = await stack.enter_async_context(
            postgres.pool(postgres_url, settings.postgres, "tidegate consume", max_size=size)
        )
        stream = Stream.of(client, settings.stream, waiting_ttl_seconds=schedule.span_seconds + 3600)
        intake = Intake(stream, reader, consumer, batch=options.batch, block_ms=options.block_ms)
        await intake.make_groups()
        worker = Worker(
            stream,
            intake,
            pool,
            Applier(handlers, schedule),
            concurrency=options.concurrency,
            drain_seconds=options.drain_seconds,
            reconnect_seconds=options.reconnect_seconds,
        )
        upkeep = Upkeep(stream, intake, pool, lease_seconds=options.lease_seconds, batch=options.batch)
        if metrics_listener is not None:
            await stack.enter_async_context(_serving_health(worker, metrics_listener))
        on_stop_signals(worker.stop, lambda: os._exit(1))
        log.info("worker started", consumer=consumer, handlers=len(handlers), shards=len(stream.keys))
        keeping = asyncio.create_task(upkeep.run())
        draining = asyncio.create_task(_until_drained(stream, worker)) if drain else None
        try:
            await worker.run()
        finally:
            background = [task for task in (keeping, draining) if task is not None]
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            handed = await intake.leave(idle_ms=int(options.lease_seconds * 1000) + 1)
            log.info("worker stopped", consumer=consumer, handed_back=handed)


async def _until_drained(stream: Stream, worker: Worker) -> None:
    """Stop ``worker`` when both streams of every shard are empty."""
    while True:
        try:
            states = [await stream.audit(shard) for shard in range(len(stream.keys))]
        except (*UNAVAILABLE, RedisError):
            await asyncio.sleep(1)  # the lanes report it
            continue
        left = sum(state.events + state.retry for state in states)
        if not left:
            log.info("drained")
            worker.stop()
            return
        log.info("draining", left=left)
        await asyncio.sleep(1)


class _serving_health:  # noqa: N801 - reads as `async with _serving_health(...)`
    """Serves /livez, /readyz and /metrics of a worker while it runs."""

    def __init__(self, worker: Worker, listener: socket.socket) -> None:
        self._worker = worker
        self._listener = listener
        self._server = server(health.application(live=self._live, ready=self._ready), drain_seconds=1)

    async def _live(self) -> dict[str, str]:
        seconds = self._worker.still_seconds
        return {"lanes": f"no batch or read ended for {seconds:.0f} s"} if seconds > _LIVE_SECONDS else {}

    async def _ready(self) -> dict[str, str]:
        away = [outage for outage in (self._worker.redis, self._worker.postgres) if outage.since is not None]
        return {outage.name.lower(): "does not answer" for outage in away}

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]))

    async def __aexit__(self, *_exc: object) -> None:
        self._server.stop()
        await asyncio.gather(self._task, return_exceptions=True)
