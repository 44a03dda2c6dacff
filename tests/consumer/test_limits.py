"""Time limits: a handler that hangs becomes a retry, a slow batch becomes two, a silent network becomes a new connection."""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from consumer.breaker import State
from consumer.pace import Pace
from tests.chaos.proxy import Proxy
from tests.consumer.scene import A, R, X, happened
from tests.fixtures import Rig, event, until
from tidegate import Batch, Event, postgres
from tidegate.errors import UsageError
from tidegate.settings import PostgresSettings, load
from tidegate.stream import Stream, connect

HANGS: dict[str, Any] = {"event_seconds": 0.1, "batch_seconds": 0.3}


async def test_a_handler_that_hangs_costs_its_event_an_attempt_and_its_neighbours_nothing(
    rig: Rig, effects: Any
) -> None:
    async def hangs(item: Event, tx: Any) -> None:
        await effects(item, tx)
        if item.provider_event_id == "bad":
            await asyncio.Event().wait()

    rig.handlers.on("shop")(hangs)
    await rig.send(event("bad"), *(event(f"e{n}") for n in range(5)))
    assert await rig.drain(rig.worker(**HANGS)) == {A: 5, R: 2, X: 1}
    assert await happened(rig) == {f"e{n}": 1 for n in range(5)}
    ((error,),) = await rig.rows("SELECT error FROM dead_letters")
    assert error == "TimeoutError: the handler took longer than 0.1 s"


async def test_a_handler_that_hangs_in_a_statement_is_stopped_and_its_connection_used_again(
    rig: Rig, effects: Any
) -> None:
    async def hangs(item: Event, tx: Any) -> None:
        await effects(item, tx)
        if item.provider_event_id == "bad":
            await tx.execute("SELECT pg_sleep(600)")

    rig.handlers.on("shop")(hangs)
    await rig.send(event("bad"), event("good"))
    assert await rig.drain(rig.worker(**HANGS)) == {A: 1, R: 2, X: 1}
    assert await happened(rig) == {"good": 1}
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%%' AND state = 'active'"
    assert await rig.rows(asleep) == [(0,)]


async def test_a_batch_handler_that_hangs_on_one_event_is_halved_until_that_one_is_alone(
    rig: Rig, effects: Any
) -> None:
    async def hangs(batch: Batch, tx: Any) -> None:
        for item in batch:
            await effects(item, tx)
            if item.provider_event_id == "e3":
                await asyncio.Event().wait()

    rig.handlers.batch("shop")(hangs)
    await rig.send(*(event(f"e{n}") for n in range(8)))
    assert await rig.drain(rig.worker(**HANGS)) == {A: 7, R: 2, X: 1}
    assert await happened(rig) == {f"e{n}": 1 for n in range(8) if n != 3}


async def test_events_that_are_slow_together_are_applied_in_several_transactions_and_lose_no_attempt(
    rig: Rig, effects: Any
) -> None:
    attempts: list[int] = []

    async def slow(item: Event, tx: Any) -> None:
        attempts.append(item.attempt)
        await effects(item, tx)
        await tx.execute("SELECT pg_sleep(0.05)")

    rig.handlers.on("shop")(slow)
    await rig.send(*(event(f"e{n}") for n in range(20)))
    worker = rig.worker(event_seconds=5, batch_seconds=0.2, batch_target_seconds=0.2)
    assert await rig.drain(worker) == {A: 20}
    assert await happened(rig) == {f"e{n}": 1 for n in range(20)}
    assert set(attempts) == {1}
    assert len(await rig.rows("SELECT DISTINCT xmin::text FROM effects")) > 1
    assert worker.intake.pace.count < 100, "the next batches must be smaller"


async def test_a_handler_that_catches_its_own_time_out_is_not_blamed_for_ours(rig: Rig, effects: Any) -> None:
    async def patient(item: Event, tx: Any) -> None:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            await effects(item, tx)

    rig.handlers.on("shop")(patient)
    await rig.send(event("a"))
    assert await rig.drain(rig.worker(**HANGS)) == {A: 1}


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
async def test_a_handler_that_exits_costs_its_event_an_attempt_and_no_worker(
    rig: Rig, effects: Any, error: BaseException
) -> None:
    async def exits(item: Event, tx: Any) -> None:
        if item.provider_event_id == "bad":
            raise error
        await effects(item, tx)

    rig.handlers.on("shop")(exits)
    await rig.send(event("bad"), event("good"))
    assert await rig.drain() == {A: 1, R: 2, X: 1}
    assert await happened(rig) == {"good": 1}


async def test_a_handler_that_recurses_for_ever_costs_its_event_an_attempt_and_no_worker(
    rig: Rig, effects: Any
) -> None:
    def deeper(depth: int) -> int:
        return deeper(depth + 1) + 1

    async def recurses(item: Event, tx: Any) -> None:
        if item.provider_event_id == "bad":
            deeper(0)
        await effects(item, tx)

    rig.handlers.on("shop")(recurses)
    await rig.send(event("bad"), event("good"))
    assert await rig.drain() == {A: 1, R: 2, X: 1}
    ((error,),) = await rig.rows("SELECT error FROM dead_letters")
    assert error.startswith("RecursionError")
    assert sys.getrecursionlimit() > 100


async def test_a_handler_that_wants_more_memory_than_there_is_costs_its_event_an_attempt(
    rig: Rig, effects: Any
) -> None:
    async def wants_it_all(item: Event, tx: Any) -> None:
        if item.provider_event_id == "bad":
            bytearray(1 << 62)
        await effects(item, tx)

    rig.handlers.on("shop")(wants_it_all)
    await rig.send(event("bad"), event("good"))
    assert await rig.drain() == {A: 1, R: 2, X: 1}


def test_slow_batches_shrink_and_quick_ones_grow_again() -> None:
    pace = Pace(500, 2.0)
    pace.took(500, 9.0)
    assert pace.count == 250
    pace.took(100, 3.0)
    assert pace.count == 125
    pace.took(20, 0.1)
    assert pace.count == 125, "a batch that was not full says nothing about a full one"
    for _ in range(10):
        pace.took(pace.count, 0.5)
    assert pace.count == 500
    for _ in range(20):
        pace.took(1, 60.0)
    assert pace.count == 1


@pytest.mark.parametrize("fault", ["stall", "lose_answers"])
async def test_a_postgres_that_went_silent_is_left_for_a_new_connection(
    stream: Stream, redis_url: str, postgres_url: str, fault: str
) -> None:
    """Its own time-outs do not reach us: a worker that waits for its word would wait for ever."""
    parts = urlsplit(postgres_url)
    assert parts.port is not None
    proxy = Proxy(parts.port)
    await proxy.start()
    credentials = parts.netloc.rpartition("@")[0]
    url = urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{proxy.port}"))
    reader = connect(redis_url, timeout_seconds=5, block_seconds=1)
    settings = PostgresSettings(connect_timeout_seconds=2, lock_timeout_ms=500, statement_timeout_ms=2000)
    attempts: list[int] = []

    async def handler(item: Event, tx: Any) -> None:
        attempts.append(item.attempt)
        if len(attempts) == 1:
            getattr(proxy, fault)()
        await tx.execute("INSERT INTO effects VALUES (%s)", [item.provider_event_id])

    async with postgres.pool(url, settings, "test") as pool:
        rig = Rig(stream, reader, pool, transaction_seconds=1)
        await rig.rows_none("CREATE TABLE effects (name text)")
        rig.handlers.on("shop")(handler)
        worker = rig.worker(concurrency=1, breaker_seconds_max=0.5)
        await worker.intake.make_groups()
        await rig.send(event("a"))
        running = asyncio.create_task(worker.run())

        async def noticed() -> bool:
            return worker.committer.breaker.state is not State.CLOSED

        await until(noticed, seconds=30)
        proxy.flow()
        proxy.answer()

        async def applied() -> bool:
            return any([(await stream.audit(shard)).ledger.get(("applied", "shop")) for shard in range(2)])

        await until(applied, seconds=30)
        worker.stop()
        await running
        assert await rig.rows("SELECT name FROM effects") == [("a",)]
        assert set(attempts) == {1}
        assert (await rig.audit()).unaccounted == 0
    await reader.aclose()
    await proxy.stop()


def test_limits_of_which_the_wrong_one_would_end_first_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_CONSUMER__EVENT_SECONDS", "5")
    monkeypatch.setenv("TIDEGATE_CONSUMER__BATCH_SECONDS", "90")
    with pytest.raises(UsageError) as refused:
        load()
    assert "consumer.event_seconds must be longer than postgres.lock_timeout_ms" in str(refused.value)
    assert "consumer.batch_seconds must be shorter than postgres.idle_in_transaction_timeout_ms" in str(refused.value)
