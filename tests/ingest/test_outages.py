"""Redis, Postgres, or both go away under load: what was answered 202 is applied in the end, and all else was answered 503."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psutil  # type: ignore[import-untyped]
import psycopg
import pytest_asyncio

from tests.conftest import SCHEMA
from tests.fixtures import Rig, until
from tests.ingest.running import Running, running
from tidegate import postgres
from tidegate.embedded import PostgresServer, RedisServer
from tidegate.settings import PostgresSettings
from tidegate.stream import Stream, connect

AT_ONCE = 16
APPEND_SECONDS = 0.5
INBOX_SECONDS = 1.0


@dataclass
class Sender:
    """A provider with ever new events, who keeps a record of every answer."""

    gate: Running
    answers: Counter[str] = field(default_factory=Counter)
    accepted: set[str] = field(default_factory=set)
    odd: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))
    _stopping: bool = False

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._send())
            try:
                yield
            finally:
                self._stopping = True

    async def _send(self) -> None:
        while not self._stopping:
            name = f"m{next(self._numbers)}"
            body = json.dumps({"type": "order.paid", "data": {"id": name}}).encode()
            try:
                status, headers, answer = await self.gate.post("crm", body, message_id=name)
            except (aiohttp.ClientError, OSError) as error:
                self.odd.append(f"{type(error).__name__}: {error}")
                continue
            if status == 202:
                self.accepted.add(name)
                self.answers[headers["Tidegate-Durability"]] += 1
            elif status == 503 and int(headers["retry-after"]) >= 1:
                self.answers["503"] += 1
                await asyncio.sleep(0.02)  # a provider waits longer; without any pause this one would only burn the CPU
            else:
                self.odd.append(f"{status} {answer}")

    async def gets(self, what: str, *, more: int = 30) -> None:
        """Return once so many more answers were this one."""
        enough = self.answers[what] + more

        async def got() -> bool:
            return self.answers[what] >= enough

        await until(got)

    async def gets_only(self, what: str, *, more: int = 100) -> None:
        """Return once so many answers in a row were this one."""

        async def got() -> bool:
            before = self.answers.copy()
            await self.gets(what, more=more)
            return (self.answers - before).keys() == {what}

        await until(got)


@dataclass
class Scene:
    """A gate over servers of its own."""

    redis: RedisServer
    postgres: PostgresServer
    sender: Sender
    rig: Rig

    async def all_applied(self) -> None:
        """Let workers finish, and compare with the sender's record."""
        await until(self._answers)
        moving = self.rig.upkeep(self.rig.worker())

        async def empty() -> bool:
            return not await moving.unboxer.unbox()

        await until(empty)
        await self.rig.drain()
        stored = {name for (name,) in await self.rig.rows("SELECT provider_event_id FROM events")}
        assert self.sender.accepted - stored == set(), "answered 202, and lost"
        doubled = await self.rig.rows("SELECT name FROM effects WHERE times > 1")
        assert doubled == []
        assert await self.rig.rows("SELECT count(*) FROM dead_letters") == [(0,)]
        audit = await self.rig.audit()
        assert audit.unaccounted == 0, audit
        assert not self.sender.odd, self.sender.odd[:5]

    async def _answers(self) -> bool:
        try:
            await self.rig.stream.probe()
            await self.rig.rows("SELECT 1")
        except Exception:
            return False
        return True


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a server, with all of its processes: the master of PostgreSQL alone is missed by nobody who is connected."""
    master = psutil.Process(pid)
    family = [master, *master.children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        yield
    finally:
        for process in family:
            process.resume()


@contextmanager
def nobody_asks(stream: Stream) -> Iterator[None]:
    """Fail when a request waits for Redis meanwhile: each would cost its provider a time limit."""
    asked = 0
    append = stream.append

    async def counted(*args: Any, **options: Any) -> list[bool]:
        nonlocal asked
        asked += 1
        return await append(*args, **options)

    stream.append = counted  # type: ignore[method-assign]
    try:
        yield
    finally:
        del stream.append
    assert asked == 0


Begin = Callable[..., Awaitable[Scene]]


@pytest_asyncio.fixture
async def begin(
    own_redis: Callable[..., RedisServer], own_postgres: Callable[..., PostgresServer]
) -> AsyncIterator[Begin]:
    async with AsyncExitStack() as stack:

        async def start(*, inbox: bool = True, **ingest: Any) -> Scene:
            redis, database = own_redis(), own_postgres(durable=True)
            with psycopg.connect(database.url, autocommit=True) as connection:
                connection.execute(SCHEMA.read_bytes())
                connection.execute("CREATE TABLE effects (name text PRIMARY KEY, times int NOT NULL)")
            limits = PostgresSettings(connect_timeout_seconds=INBOX_SECONDS)
            client = connect(redis.url, timeout_seconds=APPEND_SECONDS)
            reader = connect(redis.url, timeout_seconds=5, block_seconds=1)
            stack.push_async_callback(client.aclose)
            stack.push_async_callback(reader.aclose)
            gates_pool = await stack.enter_async_context(postgres.pool(database.url, limits, "gate", max_size=2))
            pool = await stack.enter_async_context(postgres.pool(database.url, PostgresSettings(), "test"))
            stream = Stream(client, prefix="tg", shards=2, repeat_seconds=APPEND_SECONDS, call_seconds=APPEND_SECONDS)
            gate = await stack.enter_async_context(
                running(
                    stream,
                    gates_pool if inbox else None,
                    append_seconds=APPEND_SECONDS,
                    inbox_seconds=INBOX_SECONDS,
                    breaker_seconds_max=0.5,
                    wait_replicas_ms=100,
                    retry_after_seconds=1,
                    **ingest,
                )
            )
            rig = Rig(Stream(client, prefix="tg", shards=2), reader, pool)

            @rig.handlers.on("crm", "*")
            async def count(event, tx) -> None:  # type: ignore[no-untyped-def]
                await tx.execute(
                    "INSERT INTO effects VALUES (%s, 1) ON CONFLICT (name) DO UPDATE SET times = effects.times + 1",
                    [event.provider_event_id],
                )

            return Scene(redis, database, Sender(gate), rig)

        yield start


async def test_redis_killed_under_load_and_the_inbox_takes_over_until_it_is_back(begin: Begin) -> None:
    scene = await begin()
    sender = scene.sender
    async with sender.sending():
        await sender.gets("redis")
        scene.redis.kill()
        await sender.gets_only("postgres", more=200)
        scene.redis.restart()
        await sender.gets_only("redis", more=200)
    assert not sender.answers["503"]
    await scene.all_applied()


async def test_a_redis_that_stalls_costs_the_requests_at_hand_one_time_limit_and_the_next_none(begin: Begin) -> None:
    """What it took without saying so in time comes to light when it goes on: then there are two deliveries of one event."""
    scene = await begin()
    sender = scene.sender
    async with sender.sending():
        await sender.gets("redis")
        with stopped(scene.redis.pid):
            await sender.gets("postgres", more=AT_ONCE)
            with nobody_asks(sender.gate.stream):
                await sender.gets_only("postgres", more=500)
        await sender.gets_only("redis", more=200)
    await scene.all_applied()


async def test_postgres_too_and_nothing_is_promised_any_more(begin: Begin) -> None:
    scene = await begin()
    sender = scene.sender
    async with sender.sending():
        await sender.gets("redis")
        scene.redis.kill()
        await sender.gets("postgres", more=100)
        scene.postgres.kill()
        await sender.gets_only("503")
        scene.postgres.restart()
        await sender.gets_only("postgres")
        with stopped(scene.postgres.pid):
            await sender.gets_only("503")
        scene.redis.restart()
        await sender.gets_only("redis")
    await scene.all_applied()


async def test_without_an_inbox_it_is_503_while_redis_is_away_and_no_time_limit_a_request(begin: Begin) -> None:
    scene = await begin(inbox=False)
    sender = scene.sender
    async with sender.sending():
        await sender.gets("redis")
        with stopped(scene.redis.pid):
            await sender.gets("503", more=AT_ONCE)
            with nobody_asks(sender.gate.stream):
                await sender.gets_only("503", more=500)
        await sender.gets_only("redis")
    assert not sender.answers["postgres"]
    await scene.all_applied()


async def test_a_full_inbox_is_503_and_what_it_took_is_kept(begin: Begin) -> None:
    scene = await begin(inbox_rows_max=50)
    sender = scene.sender
    async with sender.sending():
        await sender.gets("redis")
        scene.redis.kill()
        await sender.gets_only("503")
        assert 0 < sender.answers["postgres"] <= 50
        rows = await scene.rig.rows("SELECT count(*) FROM inbox")
        assert rows[0][0] <= 50
        scene.redis.restart()
        await sender.gets_only("redis")
    await scene.all_applied()


async def test_a_redis_without_memory_is_too_much_and_not_an_outage(begin: Begin) -> None:
    """What the inbox took would have to go to Redis in the end: providers are asked to wait instead."""
    scene = await begin()
    sender, client = scene.sender, scene.rig.stream.client
    async with sender.sending():
        await sender.gets("redis")
        await client.config_set("maxmemory", 1)
        await sender.gets_only("503")
        await client.config_set("maxmemory", 0)
        await sender.gets_only("redis")
    assert not sender.answers["postgres"]
    await scene.all_applied()
