"""Dying, sleeping and losing answers between any two steps: nothing is lost, nothing takes effect twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from consumer.outcome import Schedule
from dlq import replay
from tests.consumer.scene import A, DiedError, I, R, X, dies, happened, sweep, waits_for_lock
from tests.fixtures import Rig, event, until
from tidegate import Event, Reject, Retry, postgres
from tidegate.embedded import PostgresServer
from tidegate.postgres import schema
from tidegate.settings import PostgresSettings
from tidegate.stream import GROUP, Client, Stream, connect


async def test_dying_between_commit_and_settle_doubles_nothing(rig: Rig, effects: Any) -> None:
    """The first worker commits and never settles; the second claims and recognises the event by its delivery id."""
    rig.handlers.on("shop", "order.*")(effects)
    await rig.send(event("a"), event("b", event_type="unwanted"))
    first = rig.worker("w1")
    await first.intake.make_groups()
    settle, rig.stream.settle = rig.stream.settle, dies  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await first.run_once()
    rig.stream.settle = settle  # type: ignore[method-assign]
    assert await happened(rig) == {"a": 1}
    second = rig.worker("w2")
    assert await sweep(rig, second) == 2
    assert await second.run_once() == {A: 1, I: 1}
    assert await happened(rig) == {"a": 1}


async def test_dying_before_commit_loses_nothing(rig: Rig, effects: Any) -> None:
    calls = 0

    async def dies_once(item: Event, tx: Any) -> None:
        nonlocal calls
        calls += 1
        await effects(item, tx)
        if calls == 1:
            raise DiedError

    rig.handlers.on("shop")(dies_once)
    await rig.send(event("a"))
    first = rig.worker("w1")
    await first.intake.make_groups()
    with pytest.raises(DiedError):
        await first.run_once()
    assert await happened(rig) == {}
    second = rig.worker("w2")
    assert await sweep(rig, second) == 1
    assert await second.run_once() == {A: 1}
    assert await happened(rig) == {"a": 1}


async def test_a_zombie_that_wakes_after_its_entry_died_elsewhere_cannot_apply_it(rig: Rig, effects: Any) -> None:
    """w1 holds the entry and sleeps; w2 claims it and buries it; w1 wakes and applies: the letter must win."""
    verdict: Exception | None = Reject("not today")

    async def moody(item: Event, tx: Any) -> None:
        await effects(item, tx)
        if verdict is not None:
            raise verdict

    rig.handlers.on("shop")(moody)
    await rig.send(event("a"))
    zombie, other = rig.worker("w1"), rig.worker("w2")
    await zombie.intake.make_groups()
    entries = await zombie.intake.next(block=False)
    await sweep(rig, other)
    assert await other.run_once() == {X: 1}
    verdict = None
    assert await zombie.work(entries) == {X: 1}
    assert await happened(rig) == {}
    assert await rig.rows("SELECT status FROM dead_letters") == [("open",)]


async def test_burying_waits_for_a_worker_that_is_applying_the_same_event(rig: Rig, effects: Any) -> None:
    """Both hold the entry; one is about to commit when the other decides it is dead: it is applied, and no letter."""
    entered, leave = asyncio.Event(), asyncio.Event()
    slow = True

    async def handler(item: Event, tx: Any) -> None:
        if slow:
            await effects(item, tx)
            entered.set()
            await leave.wait()
        else:
            raise Reject("no")

    rig.handlers.on("shop")(handler)
    await rig.send(event("a"))
    first, second = rig.worker("w1"), rig.worker("w2")
    await first.intake.make_groups()
    entries = await first.intake.next(block=False)
    applying = asyncio.create_task(first.work(entries))
    await entered.wait()
    slow = False
    await sweep(rig, second)
    burying = asyncio.create_task(second.run_once())
    await until(lambda: waits_for_lock(rig))
    leave.set()
    outcomes = [await applying, await burying]
    assert {A: 1} in outcomes
    assert await happened(rig) == {"a": 1}
    assert await rig.rows("SELECT count(*) FROM dead_letters") == [(0,)]


async def test_a_deadlock_or_an_outage_repeats_the_batch_and_consumes_no_attempt(rig: Rig, effects: Any) -> None:
    """Pitfall 18: an outage sent to the dead letters by exception class is a disaster."""
    failures: list[Exception] = [
        psycopg.errors.DeadlockDetected("40P01"),
        psycopg.errors.AdminShutdown("57P01"),
        psycopg.errors.IdleInTransactionSessionTimeout("25P03"),
    ]
    attempts: list[int] = []

    async def shaky(item: Event, tx: Any) -> None:
        attempts.append(item.attempt)
        await effects(item, tx)
        if len(attempts) == 1:
            async with rig.pool.connection() as other:
                await other.execute("SELECT pg_terminate_backend(%s)", [tx.info.backend_pid])
            await tx.execute("SELECT 1")
        if failures:
            raise failures.pop()

    rig.handlers.on("shop")(shaky)
    await rig.send(event("a"))
    assert await rig.drain() == {A: 1}
    assert attempts == [1] * 5
    assert await happened(rig) == {"a": 1}


async def test_a_lost_read_is_read_again(rig: Rig, effects: Any) -> None:
    """Pitfall 3: the server delivered, the answer was lost, and the entries are pending for a consumer that never saw them."""
    rig.handlers.on("shop")(effects)
    await rig.send(event("a"), event("b"))
    worker = rig.worker("w1")
    await worker.intake.make_groups()
    fetch = rig.stream.fetch

    async def lost(*args: Any, **kwargs: Any) -> Any:
        await fetch(*args, **kwargs)
        raise ConnectionResetError("cut")

    rig.stream.fetch = lost  # type: ignore[method-assign]
    with pytest.raises(ConnectionResetError):
        await worker.intake.next(block=False)
    rig.stream.fetch = fetch  # type: ignore[method-assign]
    assert sum([(await worker.run_once())[A] for _ in range(2)]) == 2


async def test_a_lost_group_is_made_again_and_nothing_is_applied_twice(rig: Rig, effects: Any, client: Client) -> None:
    """Pitfall 5."""
    rig.handlers.on("shop")(effects)
    await rig.send(event("a"))
    worker = rig.worker()
    await worker.intake.make_groups()
    entries = await worker.intake.next(block=False)
    for keys in rig.stream.keys:
        await client.xgroup_destroy(keys.events, GROUP)
    await worker.work(entries)
    await rig.drain(worker)
    assert await happened(rig) == {"a": 1}


@pytest.mark.parametrize("way", ["on", "batch"])
async def test_a_handler_that_hides_a_lost_connection_does_not_make_us_believe_in_a_commit(
    rig: Rig, effects: Any, way: str
) -> None:
    """psycopg leaves the transaction of a dead connection in silence: four events would be settled and none stored."""
    calls = 0

    async def hides(given: Any, tx: Any) -> None:
        nonlocal calls
        calls += 1
        await tx.execute("SELECT 1")
        if calls == 1:
            async with rig.pool.connection() as other:
                await other.execute("SELECT pg_terminate_backend(%s)", [tx.info.backend_pid])
        with contextlib.suppress(psycopg.Error):
            await tx.execute("SELECT 1")

    getattr(rig.handlers, way)("shop")(hides)
    await rig.send(event("a"))
    assert await rig.drain() == {A: 1}
    assert await rig.rows("SELECT count(*) FROM events") == [(1,)]
    assert calls == 2


async def test_a_letter_replayed_before_the_settle_of_its_death_keeps_the_ledger_exact(rig: Rig) -> None:
    verdict: Exception | None = Reject("no")

    async def handler(item: Event, tx: Any) -> None:
        if verdict is not None:
            raise verdict

    rig.handlers.on("shop")(handler)
    await rig.send(event("a"))
    first, second = rig.worker("w1"), rig.worker("w2")
    await first.intake.make_groups()
    settle, rig.stream.settle = rig.stream.settle, dies  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await first.run_once()
    rig.stream.settle = settle  # type: ignore[method-assign]
    verdict = None
    ((letter,),) = await rig.rows("SELECT id FROM dead_letters")
    async with rig.pool.connection() as connection:
        await connection.set_autocommit(True)
        await replay.replay(rig.stream, connection, [letter])
        await connection.set_autocommit(False)
    assert await second.run_once() == {A: 1}
    await sweep(rig, second)
    assert await second.run_once() == {X: 1}
    assert await rig.rows("SELECT status FROM dead_letters") == [("resolved",)]


async def test_a_zombies_commit_after_its_entry_was_sent_to_be_retried_is_no_alarm(rig: Rig) -> None:
    rig.schedule = Schedule([3_600_000], 0)
    verdict: Exception | None = Retry()

    async def handler(item: Event, tx: Any) -> None:
        if verdict is not None:
            raise verdict

    rig.handlers.on("shop")(handler)
    await rig.send(event("a"))
    zombie, other = rig.worker("w1"), rig.worker("w2")
    await zombie.intake.make_groups()
    entries = await zombie.intake.next(block=False)
    await sweep(rig, other)
    assert await other.run_once() == {R: 1}
    verdict = None
    await zombie.work(entries)
    assert (await rig.audit()).unaccounted == 0


async def test_killing_postgres_under_a_worker_costs_no_attempt_and_no_event(
    stream: Stream, redis_url: str, own_postgres: Callable[..., PostgresServer]
) -> None:
    """A real SIGKILL while a handler is in its transaction, and a restart: applied once, on the first attempt."""
    server = own_postgres(durable=True)
    async with await postgres.connect(server.url, PostgresSettings(), "test") as connection:
        await schema.apply(connection)
    reader = connect(redis_url, timeout_seconds=5, block_seconds=1)
    attempts: list[int] = []

    async def handler(item: Event, tx: Any) -> None:
        attempts.append(item.attempt)
        if len(attempts) == 1:
            await asyncio.to_thread(server.kill)
        await tx.execute("SELECT 1")

    async with postgres.pool(server.url, PostgresSettings(), "test") as pool:
        rig = Rig(stream, reader, pool)
        rig.handlers.on("shop")(handler)
        worker = rig.worker(concurrency=1, breaker_seconds_max=0.5)
        await worker.intake.make_groups()
        await rig.send(event("a"))
        running = asyncio.create_task(worker.run())

        async def noticed() -> bool:
            return worker.committer.breaker.outage.since is not None

        await until(noticed)
        await asyncio.to_thread(server.restart)

        async def applied() -> bool:
            return any([(await stream.audit(shard)).ledger.get(("applied", "shop")) for shard in range(2)])

        await until(applied, seconds=40)
        worker.stop()
        await running
        assert attempts == [1, 1]
        assert await rig.rows("SELECT count(*) FROM events") == [(1,)]
        assert (await rig.audit()).unaccounted == 0
    await reader.aclose()
