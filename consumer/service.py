"""The worker as a process: connect, check, work, leave."""

from __future__ import annotations

import asyncio
import os
import resource
import secrets
import socket
from contextlib import AsyncExitStack

from redis.exceptions import RedisError

from consumer import engagement
from consumer.assembly import assemble
from consumer.breaker import State
from consumer.draining import Drain
from consumer.policy import Policy
from consumer.upkeep import Upkeep
from consumer.watchdog import EXIT_CODE, Watchdog
from consumer.worker import Worker
from tidegate import postgres
from tidegate.handlers import Handlers
from tidegate.loading import load_handlers
from tidegate.postgres import schema
from tidegate.serving import on_stop_signals, server
from tidegate.settings import Settings
from tidegate.stream import UNAVAILABLE, Replicas, Stream, connect, require
from tidegate.telemetry import health, logs, metrics

log = logs.get(__name__)


def handlers_of(settings: Settings) -> Handlers:
    """Return the handlers ``settings`` name; the engagement read model when they name none."""
    if settings.consumer.handlers is None:
        return engagement.handlers(settings.engagement)
    return load_handlers(settings.consumer.handlers)


async def consume(settings: Settings, metrics_listener: socket.socket | None, *, drain: Drain | None = None) -> bool:
    """Work until SIGTERM or SIGINT; a second one leaves at once, which loses nothing. ``drain``: or until all is done.

    Return whether what was asked for was done: False for a drain that left something behind.
    Raises UsageError or UnreachableError before the first read, and UnreachableError when a server stays away.
    """
    handlers = handlers_of(settings)
    _limit_memory(settings.consumer.memory_bytes_max)
    policy = Policy.of(settings.retry)
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
        stream = Stream.of(
            client,
            settings.stream,
            waiting_ttl_seconds=policy.span_seconds + 3600,
            replicas=Replicas.of(settings.ingest),  # what leaves the inbox keeps the promise it was taken with
        )
        transaction_seconds = settings.postgres.transaction_timeout_ms / 1000
        worker = assemble(
            stream,
            reader,
            pool,
            handlers,
            policy,
            consumer,
            options,
            transaction_seconds=transaction_seconds,
            sources=settings.sources,
        )
        await worker.pausing.begin()
        await worker.intake.make_groups()
        upkeep = Upkeep(
            stream,
            worker.intake,
            pool,
            worker.pausing,
            lease_seconds=options.lease_seconds,
            deliveries_max=options.deliveries_max,
        )
        watchdog = Watchdog(
            lambda: worker.committer.still_seconds, hang_seconds=options.hang_seconds, lane_seconds=transaction_seconds
        )
        if metrics_listener is not None:
            live_seconds = transaction_seconds + options.hang_seconds
            await stack.enter_async_context(_serving_health(worker, metrics_listener, live_seconds=live_seconds))
        on_stop_signals(worker.stop, lambda: os._exit(1))
        log.info("worker started", consumer=consumer, handlers=len(handlers), shards=len(stream.keys))
        background = [asyncio.create_task(upkeep.run()), asyncio.create_task(watchdog.run())]
        draining = (
            asyncio.create_task(drain.run(stream, pool, worker.stop, lambda: worker.pausing.held))
            if drain is not None
            else None
        )
        try:
            await worker.run()
        finally:
            background += [draining] if draining is not None else []
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await _leave(worker, options.handback_seconds)
        return drain is None or await drain.ended(stream, pool)


def _limit_memory(bytes_max: int) -> None:
    """Let what is too much fail in this process, and in the handler that wants it: the kernel might kill a server."""
    if bytes_max:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = bytes_max if hard == resource.RLIM_INFINITY else min(bytes_max, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


async def _leave(worker: Worker, limit_seconds: float) -> None:
    handed = 0
    try:
        async with asyncio.timeout(limit_seconds):
            handed = await worker.intake.leave()
    except (*UNAVAILABLE, RedisError) as error:
        log.warning("could not hand back; what is left is taken over when its lease runs out", error=str(error))
    log.info("worker stopped", consumer=worker.intake.consumer, handed_back=handed)
    if worker.stuck:
        log.error("a handler will not be stopped: leaving without it", lanes=len(worker.stuck))
        os._exit(EXIT_CODE)


class _serving_health:  # noqa: N801 - reads as `async with _serving_health(...)`
    """Serves /livez, /readyz and /metrics of a worker while it runs."""

    def __init__(self, worker: Worker, listener: socket.socket, *, live_seconds: float) -> None:
        self._worker = worker
        self._live_seconds = live_seconds
        self._listener = listener
        self._server = server(health.application(live=self._live, ready=self._ready), drain_seconds=1)

    async def _live(self) -> dict[str, str]:
        seconds = self._worker.committer.still_seconds
        return {"lanes": f"a transaction has taken {seconds:.0f} s"} if seconds > self._live_seconds else {}

    async def _ready(self) -> dict[str, str]:
        wrong = {"redis": "does not answer"} if self._worker.redis.since is not None else {}
        breaker = self._worker.committer.breaker
        return wrong if breaker.state is State.CLOSED else {**wrong, "postgres": f"breaker open, {breaker.why}"}

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]))

    async def __aexit__(self, *_exc: object) -> None:
        self._server.stop()
        await asyncio.gather(self._task, return_exceptions=True)
