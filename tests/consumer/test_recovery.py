"""After something went wrong: a worker goes on at once, does nothing twice for it, leaves cleanly, and tells no secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.exceptions import RedisError

from consumer import settling
from consumer.breaker import State
from tests.consumer.scene import A, R, X, happened, sweep
from tests.fixtures import Rig, event, until
from tidegate import Event, Retry
from tidegate.postgres import Pool
from tidegate.stream import Stream, connect


async def hangs() -> None:
    await asyncio.Event().wait()


async def leaves() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("does", [hangs, leaves])
async def test_a_look_for_parents_that_goes_wrong_does_not_hold_its_lane(
    rig: Rig, effects: Any, monkeypatch: pytest.MonkeyPatch, does: Callable[[], Awaitable[None]]
) -> None:
    """It is the team's code too, but runs after the commit, where no other limit reaches it."""
    monkeypatch.setattr(settling, "LOOKUP_SECONDS", 0.1)

    async def handler(item: Event, tx: Any) -> None:
        if item.provider_event_id == "orphan" and item.attempt == 1:
            raise Retry(waiting_for="p:1")
        await effects(item, tx)

    async def lookup(names: Any, tx: Any) -> Any:
        await does()

    rig.handlers.on("shop")(handler)
    rig.handlers.parent("p")(lookup)
    await rig.send(event("orphan"), event("a"))
    async with asyncio.timeout(10):
        assert await rig.drain() == {A: 2, R: 1}
    assert await happened(rig) == {"orphan": 1, "a": 1}


async def test_a_redis_that_refuses_writes_is_asked_again_without_running_the_handlers_again(
    own_redis: Any, pool: Pool
) -> None:
    """MISCONF after a full disk, or too few replicas: it answers reads, which must not pass for the end of the outage."""
    server = own_redis()
    async with (
        connect(server.url, timeout_seconds=2) as client,
        connect(server.url, timeout_seconds=2, block_seconds=1) as reader,
    ):
        rig = Rig(Stream(client, prefix="t", shards=2), reader, pool)
        calls = 0
        refused = 0

        async def handler(item: Event, tx: Any) -> None:
            nonlocal calls
            calls += 1
            await client.config_set("min-replicas-to-write", 1)
            raise Retry(after=600)

        settle = rig.stream.settle

        async def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal refused
            try:
                return await settle(*args, **kwargs)
            except RedisError:
                refused += 1
                raise

        rig.stream.settle = counted  # type: ignore[method-assign]
        rig.handlers.on("shop")(handler)
        worker = rig.worker(concurrency=1, drain_seconds=5)
        await worker.intake.make_groups()
        await rig.send(event("a"))
        running = asyncio.create_task(worker.run())

        async def refused_often() -> bool:
            return refused >= 4

        try:
            await until(refused_often)
            assert calls == 1
            assert worker.redis.since is not None, "an outage that is forgotten never ends this worker"
        finally:
            await client.config_set("min-replicas-to-write", 0)
            worker.stop()
            await running
        assert (await rig.audit()).balance.retrying == 1
        assert calls == 1
        assert worker.redis.since is None


async def test_an_unsettled_batch_is_read_again_however_much_was_read_ahead(rig: Rig) -> None:
    """Not in hand, its lease is not renewed: another worker would claim it, and it look like a death."""
    await rig.send(*(event(f"e{n}") for n in range(12)))
    worker = rig.worker(batch=1, prefetch=3)
    await worker.intake.make_groups()
    (first,) = await worker.intake.next(block=False)
    worker.intake.done([first], settled=False)
    soon = []
    for _ in range(6):
        (entry,) = await worker.intake.next(block=False)
        await worker.work([entry])
        soon.append(entry.place)
    assert first.place in soon


async def test_a_batch_that_fails_to_settle_while_another_lane_reads_is_read_again_at_once(rig: Rig) -> None:
    """Its wake-up comes between the look at what is lost and the wait for what is new, and must not be forgotten."""
    await rig.send(event("a"))
    worker = rig.worker(block_ms=4000)
    await worker.intake.make_groups()
    held = await worker.intake.next(block=False)
    fetch = rig.stream.fetch

    async def meanwhile(*args: Any, **kwargs: Any) -> Any:
        rig.stream.fetch = fetch  # type: ignore[method-assign]
        worker.intake.done(held, settled=False)
        return await fetch(*args, **kwargs)

    rig.stream.fetch = meanwhile  # type: ignore[method-assign]
    worker.intake._busy.append(0)
    async with asyncio.timeout(2):
        while not (entries := await worker.intake.next()):
            pass
    assert [entry.place for entry in entries] == [entry.place for entry in held]
    await worker.work(entries)


async def test_what_another_program_put_on_the_stream_is_counted_as_dead_in_the_metrics(rig: Rig) -> None:
    def dead() -> float:
        labels = {"source": "other", "outcome": "dead"}
        return REGISTRY.get_sample_value("tidegate_events_total", labels) or 0

    before = dead()
    await rig.worker().intake.make_groups()
    await rig.stream.client.xadd(rig.stream.keys[0].events, {"hello": "world"})
    assert await rig.drain() == {X: 1}
    assert dead() == before + 1


async def test_stopping_hands_back_at_once_what_a_cancelled_read_carried_although_a_lane_is_busy(
    rig: Rig, effects: Any
) -> None:
    """Redis had delivered it, and nobody here has seen it: it must not wait for the drain, or for its lease."""
    entered, leave, delivered = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(item: Event, tx: Any) -> None:
        if item.provider_event_id == "slow":
            entered.set()
            await leave.wait()
        await effects(item, tx)

    read = rig.stream.read

    async def loses_the_answer(*args: Any, **kwargs: Any) -> Any:
        entries = await read(*args, **kwargs)
        if entries and entered.is_set():
            delivered.set()
            await asyncio.Event().wait()
        return entries

    rig.handlers.on("shop")(slow)
    worker = rig.worker("w1", concurrency=2)
    await worker.intake.make_groups()
    rig.stream.read = loses_the_answer  # type: ignore[method-assign]
    running = asyncio.create_task(worker.run())
    other = rig.worker("w2")

    async def taken_over() -> bool:
        return await rig.upkeep(other, lease_seconds=600).sweep() == 1

    try:
        await rig.send(event("slow"))
        await asyncio.wait_for(entered.wait(), 10)
        await rig.send(event("a"))
        await asyncio.wait_for(delivered.wait(), 10)
        worker.stop()
        await until(taken_over, seconds=5)
        assert await other.run_once() == {A: 1}
        assert not running.done(), "the other lane must still be busy, or this shows nothing"
    finally:
        leave.set()
        await running
    assert await happened(rig) == {"slow": 1, "a": 1}


async def test_a_stop_that_must_cut_a_handler_off_ends_without_an_error_and_loses_nothing(
    rig: Rig, effects: Any
) -> None:
    """An exit code other than 0 would tell whoever deploys that something broke."""
    entered = asyncio.Event()

    async def stubborn(item: Event, tx: Any) -> None:
        first = not entered.is_set()
        entered.set()
        while first and not tx.is_lost:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        await effects(item, tx)

    rig.handlers.on("shop")(stubborn)
    rig.transaction_seconds = 0.5
    worker = rig.worker(concurrency=1, drain_seconds=0.05, event_seconds=30, batch_seconds=30)
    await worker.intake.make_groups()
    await rig.send(event("a"))
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(entered.wait(), 10)
    worker.stop()
    await running
    assert await happened(rig) == {}
    assert await worker.intake.leave() == 1
    second = rig.worker("w2")
    assert await sweep(rig, second) == 1
    assert await rig.drain(second) == {A: 1}


async def test_what_readyz_and_the_log_say_of_an_outage_holds_no_data_of_a_person(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """Postgres quotes the statement in the lines below its error."""

    async def handler(item: Event, tx: Any) -> None:
        await tx.execute("INSERT INTO nowhere VALUES ('Alice Miller')")

    rig.handlers.on("shop")(handler)
    worker = rig.worker(concurrency=1, drain_seconds=0.05)
    await worker.intake.make_groups()
    await rig.send(event("a"))
    running = asyncio.create_task(worker.run())
    breaker = worker.committer.breaker

    async def open_() -> bool:
        return breaker.state is State.OPEN

    try:
        await until(open_)
        assert "nowhere" in breaker.why
        assert "Alice" not in breaker.why
    finally:
        worker.stop()
        await running
    assert "Postgres refuses our statements" in caplog.text
    assert "Alice" not in caplog.text
