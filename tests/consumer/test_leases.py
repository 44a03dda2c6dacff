"""Leases and claims: what a dead worker held is taken over, once, by somebody who can use it, and nobody is blamed wrongly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from consumer import upkeep
from consumer.worker import Worker
from tests.consumer.scene import A, DiedError, R, X, happened, is_reading, sweep
from tests.fixtures import Rig, event, until
from tidegate import Event, Retry
from tidegate.stream import NOBODY, Client


async def pending(rig: Rig) -> dict[str, int]:
    """How many entries each consumer holds."""
    held: dict[str, int] = {}
    for shard in range(2):
        for item in await rig.stream.stuck(shard, idle_ms=0, count=1000):
            held[item.consumer] = held.get(item.consumer, 0) + 1
    return held


async def dies_with(rig: Rig, consumer: str) -> None:
    """Let a worker of that name take what there is, and be gone."""
    worker = rig.worker(consumer)
    await sweep(rig, worker)
    with pytest.raises(DiedError):
        await rig.drain(worker)


async def test_what_worker_after_worker_died_of_is_a_letter_and_its_batch_mates_are_applied(
    rig: Rig, effects: Any
) -> None:
    """Pitfall 13: five innocents share its batches, wait beside it while it is tried alone, and are not blamed."""

    async def deadly(item: Event, tx: Any) -> None:
        await effects(item, tx)
        if item.provider_event_id == "poison":
            raise DiedError

    rig.handlers.on("shop")(deadly)
    await rig.worker().intake.make_groups()
    await rig.send(event("poison"), *(event(f"e{n}") for n in range(5)))
    for name in ("w1", "w2", "w3", "w4"):
        await dies_with(rig, name)
    last = rig.worker("w5")
    await sweep(rig, last)
    outcomes = await rig.drain(last)
    letters = await rig.rows("SELECT provider_event_id, reason, attempts, error FROM dead_letters")
    assert [letter[:3] for letter in letters] == [("poison", "crash_loop", 1)]
    assert "worker after worker died with it in hand, the last 2 times with nothing else in work" in letters[0][3]
    assert await happened(rig) == {f"e{n}": 1 for n in range(5)}
    assert outcomes[X] == 1


async def test_a_suspect_is_tried_with_nothing_beside_it(rig: Rig, effects: Any) -> None:
    """Two lanes: while one tries what workers died of, the other stands still."""
    beside: list[set[str]] = []
    inside: set[str] = set()

    async def handler(item: Event, tx: Any) -> None:
        inside.add(item.provider_event_id)
        beside.append(set(inside))
        await tx.execute("SELECT pg_sleep(0.01)")
        await effects(item, tx)
        inside.discard(item.provider_event_id)

    rig.handlers.on("shop")(handler)
    first = rig.worker("w1")
    await first.intake.make_groups()
    await rig.send(event("suspect"))
    shard = rig.stream.shard_of("shop", "suspect")
    await first.intake.next(block=False)
    (stuck,) = await rig.stream.stuck(shard, idle_ms=0, count=10)
    assert await rig.stream.on_trial(shard, "w1", stuck.entry_id, deliveries=2)
    second = rig.worker("w2", concurrency=4, batch=1)
    await rig.send(*(event(f"e{n}") for n in range(12)))
    await sweep(rig, second)
    running = asyncio.create_task(second.run())

    async def done() -> bool:
        return (await rig.audit()).balance.applied == 13

    await until(done)
    second.stop()
    await running
    assert {"suspect"} in beside
    assert not [names for names in beside if "suspect" in names and len(names) > 1]


async def test_reading_ones_own_list_again_is_no_evidence_against_an_entry(rig: Rig, effects: Any) -> None:
    """Pitfall 13: XREADGROUP with an id would raise the delivery count at every blip of the network."""
    rig.handlers.on("shop")(effects)
    worker = rig.worker(deliveries_max=2)
    await worker.intake.make_groups()
    await rig.send(event("a"))
    for _ in range(5):
        (entry,) = await worker.intake.next(block=False)
        assert entry.deliveries == 1
        worker.intake.done([entry], settled=False)
    assert await worker.run_once() == {A: 1}


async def test_ten_deploys_that_hand_an_entry_back_do_not_make_a_suspect_of_it(rig: Rig, effects: Any) -> None:
    rig.handlers.on("shop")(effects)
    await rig.worker().intake.make_groups()
    await rig.send(event("a"))
    for number in range(10):
        worker = rig.worker(f"w{number}")
        if number:
            assert await sweep(rig, worker) == 1
        (entry,) = await worker.intake.next(block=False)
        assert entry.deliveries == 1
        worker.intake.done([entry], settled=False)
        assert await worker.intake.leave() == 1
    last = rig.worker("last")
    assert await sweep(rig, last) == 1
    assert await last.run_once() == {A: 1}


async def test_what_is_taken_over_is_applied_at_once_though_a_read_is_waiting(rig: Rig, effects: Any) -> None:
    """Pitfall 12: an idle stream must not keep a worker from what a dead one left."""
    rig.handlers.on("shop")(effects)
    dead, alive = rig.worker("w1"), rig.worker("w2", block_ms=60_000)
    await dead.intake.make_groups()
    await rig.send(event("a"), event("b"))
    held = await dead.intake.next(block=False)
    running = asyncio.create_task(alive.run())
    await until(lambda: is_reading(rig))
    assert await sweep(rig, alive) == len(held) == 2

    async def applied() -> bool:
        return (await rig.audit()).balance.applied == 2

    await until(applied, seconds=10)  # the read would have waited for a minute
    alive.stop()
    await running


async def test_what_waits_in_our_hands_and_was_taken_over_meanwhile_is_left_to_the_other(
    rig: Rig, effects: Any
) -> None:
    """A worker that slept through its lease must not do again what another is doing."""
    rig.handlers.on("shop")(effects)
    sleeper, other = rig.worker("w1", batch=1, prefetch=10), rig.worker("w2")
    await sleeper.intake.make_groups()
    await rig.send(*(event(f"e{n}") for n in range(6)))
    (started,) = await sleeper.intake.next(block=False)
    assert await sweep(rig, other) == sum((await pending(rig)).values())
    assert await rig.upkeep(sleeper).beat() > 1
    await sleeper.work([started])
    assert await sleeper.intake.next(block=False) == [] or (await pending(rig)).get("w1") == 1
    await rig.drain(other)
    await rig.drain(sleeper)
    assert await happened(rig) == {f"e{n}": 1 for n in range(6)}


async def test_one_worker_of_a_fleet_sweeps_at_a_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep walks over all that is pending: a hundred workers at once would be Redis' whole work."""
    monkeypatch.setattr(upkeep, "SWEEP_TURN_MS", 60_000)
    dead = rig.worker("dead")
    await dead.intake.make_groups()
    await rig.send(*(event(f"e{n}") for n in range(10)))
    await dead.intake.next(block=False)
    await dead.intake.leave()
    fleet = [rig.worker(f"w{n}", batch=2) for n in range(5)]
    taken = [await rig.upkeep(worker, lease_seconds=600).sweep_in_turn() for worker in fleet]
    assert taken == [2, 0, 0, 0, 0] or taken[0] == 2 == sum(taken[1:]), "each shard has a turn of its own"


async def test_a_batch_that_takes_longer_than_the_lease_is_not_taken_over(rig: Rig, effects: Any) -> None:
    """Pitfall 14: the lease is renewed while the handler works."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(item: Event, tx: Any) -> None:
        entered.set()
        await leave.wait()
        await effects(item, tx)

    rig.handlers.on("shop")(slow)
    first, second = rig.worker("w1"), rig.worker("w2")
    await first.intake.make_groups()
    await rig.send(event("a"))
    working = asyncio.create_task(first.run_once())
    await entered.wait()
    for _ in range(3):
        (stuck,) = [s for shard in range(2) for s in await rig.stream.stuck(shard, idle_ms=0, count=1)]
        lease_seconds = max(stuck.idle_ms, 1) / 1000 + 0.05

        async def lease_over(seconds: float = lease_seconds) -> bool:
            rows = [s for shard in range(2) for s in await rig.stream.stuck(shard, idle_ms=0, count=1)]
            return rows[0].idle_ms > seconds * 1000

        await until(lease_over)
        assert await rig.upkeep(first).beat() == 0
        assert await rig.upkeep(second, lease_seconds=lease_seconds).sweep() == 0
    leave.set()
    assert await working == {A: 1}


async def test_what_was_not_started_is_handed_back_while_the_last_batch_is_still_in_work(
    rig: Rig, effects: Any
) -> None:
    """Another worker need not wait for the drain, nor for a lease, to have it."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(item: Event, tx: Any) -> None:
        entered.set()
        await leave.wait()
        await effects(item, tx)

    rig.handlers.on("shop")(slow)
    first = rig.worker("w1", batch=1, prefetch=20, concurrency=1)
    await first.intake.make_groups()
    await rig.send(*(event(f"e{n}") for n in range(10)))
    running = asyncio.create_task(first.run())
    await entered.wait()
    before = await pending(rig)
    assert before["w1"] > 1
    first.stop()

    async def handed_back() -> bool:
        return (await pending(rig)).get(NOBODY, 0) == before["w1"] - 1

    await until(handed_back)
    assert not running.done()
    second = rig.worker("w2")
    assert await rig.upkeep(second, lease_seconds=60).sweep() == before["w1"] - 1
    leave.set()
    await running
    await first.intake.leave()
    await rig.drain(second)
    assert await happened(rig) == {f"e{n}": 1 for n in range(10)}


async def test_a_worker_holds_no_more_bytes_than_it_may(rig: Rig) -> None:
    for n in range(12):
        await rig.send(event(f"e{n}", payload=b'"' + b"x" * 1_000_000 + b'"'))
    worker = rig.worker(batch_bytes=1_500_000, held_bytes=3_000_000, prefetch=100)
    await worker.intake.make_groups()
    batches = [await worker.intake.next(block=False) for _ in range(6)]
    assert 1 < sum(map(len, batches)) < 6
    assert worker.intake.holding.bytes < 5_000_000
    for batch in batches:
        if batch:
            await worker.work(batch)
    await rig.drain(worker)


async def test_a_retry_of_what_somebody_deleted_meanwhile_is_made_of_what_we_hold(
    rig: Rig, effects: Any, client: Client
) -> None:
    async def handler(item: Event, tx: Any) -> None:
        if item.attempt == 1:
            for keys in rig.stream.keys:
                await client.xtrim(keys.events, maxlen=0, approximate=False)
            raise Retry(after=0)
        await effects(item, tx)

    rig.handlers.on("shop")(handler)
    await rig.send(event("a"))
    assert await rig.drain() == {R: 1, A: 1}
    assert await happened(rig) == {"a": 1}
    assert await rig.rows("SELECT payload ->> 'n' FROM events") == [("a",)]


@pytest.mark.parametrize("queue", ["events", "retry"])
async def test_what_somebody_deleted_is_a_letter_that_says_so(
    rig: Rig, effects: Any, client: Client, queue: str
) -> None:
    """Nothing is left of it but its id; the stream must not stick, and the ledger must not forget it."""

    async def handler(item: Event, tx: Any) -> None:
        if item.attempt == 1 and item.provider_event_id == "a":
            raise Retry(after=0)
        await effects(item, tx)

    rig.handlers.on("shop")(handler)
    first: Worker = rig.worker("w1")
    await first.intake.make_groups()
    await rig.send(event("a"))
    if queue == "events":
        await first.intake.next(block=False)  # and dies
    else:
        await first.run_once()
    for keys in rig.stream.keys:
        await client.xtrim(getattr(keys, queue), maxlen=0, approximate=False)
    await rig.send(event("b"))
    second = rig.worker("w2")
    await sweep(rig, second)
    assert await rig.drain(second) == {A: 1, X: 1}
    ((reason, error, payload),) = await rig.rows("SELECT reason, error, payload FROM dead_letters")
    assert reason == "malformed"
    assert f"of the {queue} stream was deleted by another program" in error
    assert b"lost" in payload
    assert (await rig.audit()).unaccounted == 0


async def test_retries_whose_due_times_were_deleted_come_back(rig: Rig, effects: Any, client: Client) -> None:
    async def handler(item: Event, tx: Any) -> None:
        if item.attempt == 1:
            raise Retry(after=3600)
        await effects(item, tx)

    rig.handlers.on("shop")(handler)
    worker = rig.worker()
    await worker.intake.make_groups()
    await rig.send(event("a"), event("b"))
    while await worker.run_once():
        pass
    await client.delete(*(keys.due for keys in rig.stream.keys))
    await rig.upkeep(worker).measure()
    assert await rig.drain(worker) == {A: 2}


async def test_a_lost_answer_as_a_trial_begins_condemns_nobody(rig: Rig, effects: Any) -> None:
    """The count was raised and the answer lost, again and again: the worker lives, so the event has not killed it."""
    rig.handlers.on("shop")(effects)
    dead = rig.worker("dead", deliveries_max=2)
    await dead.intake.make_groups()
    await rig.send(event("a"))
    await dead.intake.next(block=False)
    worker = rig.worker("w1", deliveries_max=2)
    assert await sweep(rig, worker) == 1
    on_trial = rig.stream.on_trial

    lost = 0

    async def loses_the_answer(*args: Any, **kwargs: Any) -> bool:
        nonlocal lost
        ours = await on_trial(*args, **kwargs)
        lost += 1
        if lost < 4:
            raise ConnectionResetError("cut")
        return ours

    rig.stream.on_trial = loses_the_answer  # type: ignore[method-assign]
    assert await worker.run_once() == {A: 1}
    assert lost == 4
    assert await happened(rig) == {"a": 1}


async def test_a_worker_that_leaves_in_the_middle_of_a_trial_condemns_nobody(rig: Rig, effects: Any) -> None:
    """It was told to leave while Redis was away, so that it could hand nothing back: that is no death by this event."""
    rig.handlers.on("shop")(effects)
    dead = rig.worker("dead")
    await dead.intake.make_groups()
    await rig.send(event("a"))
    shard = rig.stream.shard_of("shop", "a")
    await dead.intake.next(block=False)
    (stuck,) = await rig.stream.stuck(shard, idle_ms=0, count=1)
    await rig.stream.on_trial(shard, "dead", stuck.entry_id, deliveries=1001)  # tried once, and no outcome
    last = rig.worker("w2")
    assert await sweep(rig, last) == 1
    assert await last.run_once() == {A: 1}
