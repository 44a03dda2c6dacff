"""What most tests stand on: a stream under a prefix of its own, a database of its own, and a worker over both."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from consumer.assembly import assemble
from consumer.outcome import Outcome, Schedule
from consumer.policy import Policy, Rule
from consumer.upkeep import Upkeep
from consumer.worker import Worker
from dlq.audit import take
from tidegate import postgres
from tidegate.event import Delivery, Event
from tidegate.handlers import Handlers
from tidegate.ledger import Audit
from tidegate.postgres import Connection, Pool
from tidegate.settings import ConsumerSettings, PostgresSettings
from tidegate.stream import Appendable, Client, Stream, connect
from tidegate.telemetry import logs
from tidegate.wire import encode_meta

logs.configure("info", "json")  # as in production; structlog's own default renders rich tracebacks, for seconds

Rows = list[tuple[Any, ...]]


def event(name: str = "e-1", **changed: Any) -> Event:
    """Return an event called ``name``; its payload is ``{"n": name}``."""
    now_ms = time.time_ns() // 1_000_000
    values: dict[str, Any] = {
        "source": "shop",
        "provider": "standard-webhooks",
        "provider_event_id": name,
        "event_type": "order.paid",
        "occurred_at_ms": now_ms,
        "received_at_ms": now_ms,
        "key": "",
        "payload": json.dumps({"n": name}).encode(),
        "delivery_id": uuid.uuid4(),
    }
    return Event(**(values | changed))


def appendable(item: Event | Delivery) -> Appendable:
    """Return ``item`` as the gate appends it."""
    delivery = item if isinstance(item, Delivery) else Delivery(item)
    held = delivery.event
    return Appendable(held.source, held.provider_event_id, encode_meta(delivery), held.payload)


async def until(condition: Callable[[], Awaitable[object]], *, seconds: float = 20.0) -> None:
    """Return once ``condition`` is true; fail the test when it is not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"still not true after {seconds} s: {condition}"
        await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    found = connect(redis_url, timeout_seconds=5)
    yield found
    await found.aclose()


@pytest.fixture
def stream(client: Client, prefix: str) -> Stream:
    """Two shards, so that nothing is only right on one."""
    return Stream(client, prefix=prefix, shards=2)


@pytest_asyncio.fixture
async def pool(postgres_url: str) -> AsyncIterator[Pool]:
    async with postgres.pool(postgres_url, PostgresSettings(), "test") as opened:
        yield opened


@dataclass
class Rig:
    """A stream, a database, and workers over both that a test turns by hand."""

    stream: Stream
    reader: Client
    pool: Pool
    handlers: Handlers = field(default_factory=Handlers)
    schedule: Schedule = field(default_factory=lambda: Schedule([0, 0], 0))
    rules: list[Rule] = field(default_factory=list)
    transaction_seconds: float = 60.0

    def worker(self, consumer: str = "w1", *, batch: int = 100, sources: Sequence[str] = (), **options: Any) -> Worker:
        """Return a worker; ``options`` are settings of [consumer], ``sources`` those of [sources]."""
        settings = ConsumerSettings(**{"batch": batch, "block_ms": 50, "linger_ms": 0, **options})
        return assemble(
            self.stream,
            self.reader,
            self.pool,
            self.handlers,
            Policy(self.schedule, self.rules),
            consumer,
            settings,
            transaction_seconds=self.transaction_seconds,
            sources=sources,
        )

    def upkeep(self, worker: Worker, *, lease_seconds: float = 0.05) -> Upkeep:
        limit = worker.options.deliveries_max
        return Upkeep(
            self.stream,
            worker.intake,
            self.pool,
            worker.pausing,
            lease_seconds=lease_seconds,
            deliveries_max=limit,
        )

    async def send(self, *items: Event | Delivery) -> None:
        """Append each as the gate would."""
        for item in items:
            held = item.event if isinstance(item, Delivery) else item
            shard = self.stream.shard_of(held.source, held.provider_event_id)
            await self.stream.append(shard, [appendable(item)])

    async def drain(self, worker: Worker | None = None) -> dict[Outcome, int]:
        """Let ``worker`` work until neither stream holds anything; return how many settled how."""
        worker = worker or self.worker()
        upkeep = self.upkeep(worker)
        await worker.intake.make_groups()
        total: dict[Outcome, int] = {}

        async def empty() -> bool:
            await upkeep.reenter()
            for outcome, count in (await worker.run_once()).items():
                total[outcome] = total.get(outcome, 0) + count
            states = [await self.stream.audit(shard) for shard in range(len(self.stream.keys))]
            return not sum(state.events + state.retry for state in states)

        await until(empty)
        return total

    async def rows(self, query: str, *values: Any) -> Rows:
        """Return the rows of ``query``."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(query.encode(), values)
            return await cursor.fetchall()

    async def rows_none(self, statement: str) -> None:
        """Run a statement that returns no rows."""
        async with self.pool.connection() as connection:
            await connection.execute(statement.encode())

    async def audit(self) -> Audit:
        async with self.pool.connection() as connection:
            return await take(self.stream, connection)


@pytest_asyncio.fixture
async def rig(stream: Stream, pool: Pool, redis_url: str) -> AsyncIterator[Rig]:
    """Whatever a test does with it, every delivery must be accounted for at its end."""
    reader = connect(redis_url, timeout_seconds=5, block_seconds=1)
    made = Rig(stream, reader, pool)
    try:
        yield made
        assert (await made.audit()).unaccounted == 0
    finally:
        await reader.aclose()


__all__ = ["Connection", "Rig", "appendable", "client", "event", "pool", "rig", "stream", "until"]
