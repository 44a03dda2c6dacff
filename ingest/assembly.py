"""The parts of a gate, put together as the settings say."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp

from ingest import adapters, description
from ingest.admission import Admission, Bounds
from ingest.appender import Appender
from ingest.connections import Connections, Reason
from ingest.evidence import Evidence, Secret
from ingest.fuse import Fuse
from ingest.gate import Gate, Limits
from ingest.inboxing import Inboxing
from ingest.looking import Looking
from ingest.problems import Problem
from ingest.rates import AddressRates, Rate
from ingest.readiness import Readiness
from ingest.receiving import Receiving
from ingest.rejects import Rejects
from ingest.source import Source
from ingest.tiers import Tiers
from tidegate.errors import UsageError
from tidegate.postgres import Pool, borrowed, schema
from tidegate.settings import IngestSettings, Settings
from tidegate.stream import Client, Pauses, PauseView, RejectedLog, Replicas, SecretUses, Stream
from tidegate.stream.secret_uses import mark
from tidegate.telemetry import health, logs

log = logs.get(__name__)

CANCEL_SECONDS = 1.0
"""How long a task has to end before it is told again."""
LAST_RECORDS_SECONDS = 1.0
"""How long a leaving gate tries to write down what it refused last."""
INBOX_EVENTS_MAX = 500
"""Events in one transaction of the inbox, unless one request brings more."""


def sources(settings: Settings) -> dict[str, Source]:
    """Return the configured sources with their adapters; raise UsageError for one that cannot work."""
    found: dict[str, Source] = {}
    for name, source in settings.sources.items():
        secrets = source.read_secrets(name)
        try:
            adapter = adapters.build(
                source.provider,
                secrets,
                tolerance_seconds=source.tolerance_seconds,
                handshake_secret=source.read_handshake_secret(name),
                options=source.options,
                own=settings.providers,
            )
        except UsageError as error:
            raise UsageError(f"source {name!r}: {error}") from None
        rate = Rate(source.rate_per_second, source.burst) if source.rate_per_second is not None else None
        noted = [Secret(name, label, mark(name, text)) for label, text in zip(source.labels, secrets, strict=True)]
        found[name] = Source(name, adapter.at_rate(source.rate_per_second), source.public_url, tuple(noted), rate)
    return found


def streams(client: Client, settings: Settings) -> Stream:
    """Return the streams as the gate uses them: within its own time limit, and on as many replicas as asked for."""
    ingest = settings.ingest
    return Stream.of(client, settings.stream, call_seconds=ingest.append_seconds, replicas=Replicas.of(ingest))


@dataclass(frozen=True, slots=True)
class Parts:
    """A gate and what works beside it; `running` keeps those going."""

    gate: ASGIApp
    tiers: Tiers
    readiness: Readiness
    rejects: Rejects
    evidence: Evidence
    connections: Connections
    background: tuple[Callable[[], Coroutine[Any, Any, None]], ...]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the probes, looks and records until the block ends; then what is in flight is finished and recorded."""
        tasks = [asyncio.create_task(_forever(step)) for step in self.background]
        try:
            yield
            await self.tiers.drain()
        finally:
            await _ended(tasks)
            with contextlib.suppress(TimeoutError):  # records are not worth a late end
                async with asyncio.timeout(LAST_RECORDS_SECONDS):
                    await asyncio.gather(self.rejects.flush(), self.evidence.flush())


async def _ended(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel ``tasks`` until each has ended: a cancellation that meets an answer in the same moment can be swallowed below us."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_SECONDS)


async def _forever(step: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``step`` until cancelled: a mistake in it must not leave a gate that never again notices that Redis is back."""
    while True:
        try:
            await step()
        except Exception:
            log.exception("what works beside the gate failed; it goes on", step=getattr(step, "__qualname__", "?"))
        await asyncio.sleep(1)


def assemble(
    configured: dict[str, Source],
    stream: Stream,
    pool: Pool | None,
    settings: Settings,
    *,
    clock: Callable[[], float] = time.time,
) -> Parts:
    """Return the gate over ``stream`` and, where there is a ``pool``, the inbox. ``clock`` tells Unix seconds."""
    ingest, backlog_max = settings.ingest, settings.stream.backlog_max
    admission = Admission(Bounds.of(ingest, backlog_max=backlog_max))
    fuse = Fuse(
        "Redis",
        stream.probe,
        probe_seconds=ingest.append_seconds,
        pause_seconds_max=ingest.breaker_seconds_max,
        instead="events go to the inbox" if pool is not None else "events are refused with 503, there is no inbox",
    )
    appender = Appender(
        stream,
        fuse,
        backlog_max=backlog_max,
        events_max=ingest.append_events_max,
        append_seconds=ingest.append_seconds,
        full=lambda backlog: admission.full(time.monotonic(), backlog),
    )
    inboxing = _inboxing(pool, ingest) if pool is not None else None
    tiers = Tiers(appender, fuse, inboxing, pending_max=ingest.pending_max, pending_bytes_max=ingest.pending_bytes_max)
    rejects = Rejects(
        RejectedLog.of(stream.client, settings.stream),
        maxlen=ingest.rejects_max,
        adapters={name: source.adapter for name, source in configured.items()},
    )
    evidence = Evidence(
        SecretUses(stream.client, settings.stream.prefix),
        [secret for source in configured.values() for secret in source.secrets],
        clock,
    )
    pauses = PauseView(Pauses(stream.client, settings.stream.prefix))
    readiness = Readiness(stream.client, tiers)
    gate = Gate(
        configured,
        tiers,
        admission,
        Receiving(
            body_bytes_max=ingest.body_bytes_max,
            bytes_max=ingest.received_bytes_max,
            count_max=ingest.requests_max,
            body_seconds=ingest.body_seconds,
        ),
        rejects,
        pauses,
        AddressRates(ingest.address_rate_per_second, ingest.address_burst) if ingest.address_rate_per_second else None,
        Limits(
            ingest.body_bytes_max,
            ingest.json_depth_max,
            ingest.events_max,
            ingest.requests_max,
            ingest.require_https,
            ingest.hsts_seconds,
        ),
        health.application(ready=readiness, more=[description.route]),
        clock,
    )
    background = [fuse.run, Looking(stream, admission, pauses).run, rejects.run, evidence.run]
    if inboxing is not None:
        background.append(inboxing.fuse.run)
    connections = Connections.of(ingest, _noting(rejects))
    return Parts(gate, tiers, readiness, rejects, evidence, connections, tuple(background))


def _noting(rejects: Rejects) -> Callable[[Problem, Reason, str], None]:
    """Return what records a request that was refused before it was one: its source is not known then."""

    def refused(problem: Problem, reason: Reason, address: str) -> None:
        if problem.status < 500:
            why = "too_slow" if reason == "header_slow" else "headers"
            rejects.note(source="", status=problem.status, reason=why, address=address, now_seconds=time.time())

    return refused


def _inboxing(pool: Pool, ingest: IngestSettings) -> Inboxing:
    async def probe() -> None:
        async with borrowed(pool, ingest.inbox_seconds) as connection:
            await schema.check(connection)

    fuse = Fuse(
        "Postgres",
        probe,
        probe_seconds=ingest.inbox_seconds,
        pause_seconds_max=ingest.breaker_seconds_max,
        instead="there is no inbox while Redis is away",
    )
    return Inboxing(
        pool,
        fuse,
        rows_max=ingest.inbox_rows_max,
        bytes_max=ingest.inbox_bytes_max,
        store_seconds=ingest.inbox_seconds,
        events_max=INBOX_EVENTS_MAX,
    )
