"""Batches, lanes and leaving: bounded work, nobody works on another's entries, and what is not done is handed back."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.consumer.scene import A, happened, is_reading, sweep
from tests.fixtures import Rig, event, until
from tidegate import Batch, Event


async def test_leaving_hands_back_what_was_not_done(rig: Rig, effects: Any) -> None:
    rig.handlers.on("shop")(effects)
    await rig.send(*(event(f"e{n}") for n in range(10)))
    first = rig.worker("w1")
    await first.intake.make_groups()
    held = await first.intake.next(block=False)
    assert await first.intake.leave() == len(held)
    second = rig.worker("w2")
    assert await rig.upkeep(second, lease_seconds=60).sweep() == len(held)
    await rig.drain(second)
    assert await happened(rig) == {f"e{n}": 1 for n in range(10)}
    names = {c["name"] for keys in range(2) for c in await rig.stream.consumers(keys)}
    assert b"w1" not in names


async def test_a_stopping_worker_finishes_its_batch(rig: Rig, effects: Any) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(item: Event, tx: Any) -> None:
        await effects(item, tx)
        entered.set()
        await leave.wait()

    rig.handlers.on("shop")(slow)
    worker = rig.worker(concurrency=2)
    await worker.intake.make_groups()
    running = asyncio.create_task(worker.run())
    await rig.send(event("a"))
    await entered.wait()
    worker.stop()
    leave.set()
    await asyncio.wait_for(running, 10)
    assert await happened(rig) == {"a": 1}
    assert (await rig.audit()).balance.applied == 1


async def test_a_batch_that_outlasts_the_drain_is_rolled_back_and_handed_back(rig: Rig, effects: Any) -> None:
    entered = asyncio.Event()

    async def hangs(item: Event, tx: Any) -> None:
        await effects(item, tx)
        entered.set()
        await asyncio.Event().wait()

    rig.handlers.on("shop")(hangs)
    worker = rig.worker(drain_seconds=0.1)
    await worker.intake.make_groups()
    running = asyncio.create_task(worker.run())
    await rig.send(event("a"))
    await entered.wait()
    worker.stop()
    await asyncio.wait_for(running, 10)
    assert await worker.intake.leave() == 1
    assert await happened(rig) == {}


async def test_lanes_do_not_work_on_each_others_entries(rig: Rig) -> None:
    async def slow(batch: Batch, tx: Any) -> None:
        await tx.execute("SELECT pg_sleep(0.005)")

    rig.handlers.batch("shop")(slow)
    await rig.send(*(event(f"e{n}") for n in range(300)))
    worker = rig.worker(batch=10, concurrency=4)
    await worker.intake.make_groups()
    worked: list[Any] = []
    work = worker.work

    async def noted(entries: Any) -> Any:
        worked.extend(entry.place for entry in entries)
        return await work(entries)

    worker.work = noted  # type: ignore[method-assign]
    running = asyncio.create_task(worker.run())

    async def done() -> bool:
        return (await rig.audit()).balance.applied == 300

    await until(done)
    worker.stop()
    await running
    assert (len(worked), len(set(worked))) == (300, 300)


async def test_a_batch_that_could_not_be_settled_is_read_again_whatever_other_lanes_did(rig: Rig, effects: Any) -> None:
    rig.handlers.on("shop")(effects)
    await rig.send(event("a"))
    worker = rig.worker()
    await worker.intake.make_groups()
    held = await worker.intake.next(block=False)
    reading = asyncio.create_task(worker.intake.next())
    await until(lambda: is_reading(rig))
    worker.intake.done(held, settled=False)
    assert await reading == []
    assert await worker.run_once() == {A: 1}


async def test_a_batch_is_bounded_over_all_shards_by_count_and_by_bytes(rig: Rig) -> None:
    await rig.send(*(event(f"e{n}") for n in range(40)))
    await rig.send(*(event(f"big{n}", payload=b'"' + b"x" * 6_000_000 + b'"') for n in range(4)))
    worker = rig.worker(batch=5)
    await worker.intake.make_groups()
    sizes = []
    while entries := await worker.intake.next(block=False):
        sizes.append((len(entries), sum(len(field) for entry in entries for field in entry.fields)))
        await worker.work(entries)
    assert sum(count for count, _ in sizes) == 44
    assert max(count for count, _ in sizes) == 5
    assert max(size for _, size in sizes) < 2 * 10**7


async def test_a_stopping_worker_takes_nothing_over(rig: Rig, effects: Any) -> None:
    rig.handlers.on("shop")(effects)
    await rig.send(event("a"))
    first, second = rig.worker("w1"), rig.worker("w2")
    await first.intake.make_groups()
    await first.intake.next(block=False)
    second.stop()
    assert await sweep(rig, second) == 0
    third = rig.worker("w3")
    assert await sweep(rig, third) == 1
    await third.run_once()
