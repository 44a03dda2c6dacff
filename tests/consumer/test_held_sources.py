"""A source on hold: its deliveries wait and cost nothing, the others flow, and when it goes on each is applied once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from consumer import parking
from consumer.breaker import State
from consumer.outcome import PAUSED, Schedule
from consumer.part import Part
from consumer.reading import Read
from consumer.worker import Worker
from dlq import letters
from dlq import replay as replaying
from dlq.letters import Filter
from tests.consumer.scene import A, DiedError, R, X, dies, happened, sweep
from tests.fixtures import Rig, event, until
from tests.stream.steps import fields
from tidegate import Event, Reject, Retry
from tidegate.event import Delivery
from tidegate.stream import Pauses
from tidegate.telemetry import metrics

HOUR_MS = 3_600_000


@pytest.fixture
def pauses(rig: Rig, prefix: str) -> Pauses:
    return Pauses(rig.stream.client, prefix)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is parked is due again at once, as if an hour went by each time."""
    monkeypatch.setattr(parking, "DELAY_MS_MAX", 0)


async def turn(rig: Rig, worker: Worker) -> Counter[Any]:
    """Let ``worker`` look at the pauses, and do what is due until the events streams are empty."""
    await worker.intake.make_groups()
    await look(worker)
    total: Counter[Any] = Counter()

    async def empty() -> bool:
        await rig.upkeep(worker).reenter()
        total.update(await worker.run_once())
        states = [await rig.stream.audit(shard) for shard in range(2)]
        return not sum(state.events for state in states)

    await until(empty)
    return total


async def look(worker: Worker) -> int:
    """Let ``worker`` look at the pauses, as it does once a second; return how many are due since their source goes on."""
    await worker.pausing.look()
    return await worker.pausing.release()


async def places(rig: Rig) -> tuple[int, int]:
    """Return how many are on the retry streams, and how many of these wait until shop is resumed."""
    return (await rig.audit()).balance.retrying, await rig.stream.held("shop")


async def metas(rig: Rig) -> list[bytes]:
    return sorted([held[b"meta"] for keys in rig.stream.keys for held in await fields(rig.stream.client, keys.retry)])


async def test_its_events_wait_while_others_flow_and_when_it_goes_on_each_is_applied_once(
    rig: Rig, pauses: Pauses, effects: Any
) -> None:
    attempts: list[int] = []

    async def handler(item: Event, tx: Any) -> None:
        attempts.append(item.attempt)
        await effects(item, tx)

    rig.handlers.on("*")(handler)
    worker = rig.worker()
    await pauses.set("shop", "hold")
    for n in range(40):
        await rig.send(event(f"s{n}"), event(f"c{n}", source="crm"))
    assert await turn(rig, worker) == {R: 40, A: 40}
    assert await rig.rows("SELECT source, count(*) FROM events GROUP BY 1") == [("crm", 40)]
    assert await places(rig) == (40, 40)
    assert (await rig.audit()).unaccounted == 0
    await pauses.clear("shop")
    assert await turn(rig, worker) == {A: 40}
    assert await happened(rig) == {f"{kind}{n}": 1 for kind in "sc" for n in range(40)}
    assert attempts == [1] * 80


async def test_postgres_hears_nothing_of_what_waits(rig: Rig, pauses: Pauses) -> None:
    await pauses.set("shop", "hold")
    await rig.send(event("a"), Delivery(event("b"), malformed="no event"))
    without_postgres = replace(rig, pool=cast(Any, None))
    assert await turn(rig, without_postgres.worker()) == {R: 2}
    await pauses.clear("shop")
    assert await turn(rig, rig.worker(sources=["shop"])) == {"ignored": 1, X: 1}


async def test_however_often_it_is_parked_no_attempt_is_consumed_and_nothing_grows(
    rig: Rig, pauses: Pauses, at_once: None, effects: Any
) -> None:
    attempts: list[int] = []

    async def fails_once(item: Event, tx: Any) -> None:
        attempts.append(item.attempt)
        if item.attempt == 1:
            raise Retry("not yet")
        await effects(item, tx)

    rig.handlers.on("shop")(fails_once)
    worker = rig.worker()
    await rig.send(event("a"))
    assert await worker.run_once() == {}  # there was no group
    assert await worker.run_once() == {R: 1}
    await pauses.set("shop", "hold")
    await look(worker)
    seen = []
    for _ in range(20):
        await rig.upkeep(worker).reenter()
        assert await worker.run_once() == {R: 1}
        seen.append(await metas(rig))
    assert seen == [seen[0]] * 20
    assert seen[0][0].count(b"not yet") == 1
    await pauses.clear("shop")
    assert await turn(rig, worker) == {A: 1}
    assert attempts == [1, 2]
    assert await happened(rig) == {"a": 1}


async def test_waiting_is_no_ageing(rig: Rig, pauses: Pauses) -> None:
    """Held for two days, with a maximum age of an hour: it gets its schedule, as if it had come just now."""
    rig.schedule = Schedule([0, 0], 0, max_age_ms=HOUR_MS)
    attempts: Counter[str] = Counter()

    async def fails(item: Event, tx: Any) -> None:
        attempts[item.provider_event_id] += 1
        raise Retry("not yet")

    rig.handlers.on("shop")(fails)
    now_ms = event().received_at_ms
    old = event("old", received_at_ms=now_ms - 48 * HOUR_MS)
    held = replace(event("held", received_at_ms=old.received_at_ms))
    await rig.send(old, Delivery(held, held_since_ms=held.received_at_ms + 1000))
    await rig.drain()
    assert attempts == {"old": 1, "held": 3}
    assert sorted(await rig.rows("SELECT provider_event_id, reason FROM dead_letters")) == [
        ("held", "exhausted"),
        ("old", "expired"),
    ]


def test_what_waited_twice_is_no_older_than_the_time_between() -> None:
    held: frozenset[str] = frozenset({"shop"})
    sent = Delivery(event(received_at_ms=0))

    def parked(delivery: Delivery, now_ms: int) -> Delivery:
        (waiting,), rest = parking.apart(part(delivery), held, now_ms)
        assert not rest.read
        (decided,) = parking.park([waiting], now_ms, lambda: 0.5).values()
        assert (decided.reason, decided.delay_ms) == (PAUSED, 3 * HOUR_MS)
        return decided.delivery

    def resumed(delivery: Delivery, now_ms: int) -> Delivery:
        waiting, rest = parking.apart(part(delivery), frozenset(), now_ms)
        assert not waiting
        assert rest.deliveries[0].held_since_ms is None
        return rest.deliveries[0]

    once = resumed(parked(parked(sent, 10), 50), 100)
    assert once.held_ms == 90
    assert resumed(parked(once, 110), 150).held_ms == 130
    assert resumed(once, 1000) is once
    assert resumed(parked(once, 110), 50).held_ms == 90, "a clock that went back takes nothing away"
    # The age of a replayed one begins with its first failure: what it waited before is none of it.
    again = replace(sent, replay=1)
    assert resumed(parked(again, 10), 100).held_ms == 0
    later = replace(again, event=replace(again.event, attempt=2))
    assert resumed(parked(later, 10), 100).held_ms == 90


def part(delivery: Delivery) -> Part:
    return Part([Read(cast(Any, None), delivery=delivery)], 10, 3)


async def test_what_workers_died_of_is_neither_tried_nor_blamed_while_it_waits(
    rig: Rig, pauses: Pauses, caplog: pytest.LogCaptureFixture
) -> None:
    rig.handlers.on("shop")(nothing)
    await rig.send(event("a"))
    for name in ("w1", "w2", "w3"):  # each takes it over, and dies
        worker = rig.worker(name)
        await worker.intake.make_groups()
        await sweep(rig, worker)
        await worker.intake.next(block=False)
    await pauses.set("shop", "hold")
    last = rig.worker("w4")
    await look(last)
    assert await sweep(rig, last) == 1
    assert await last.run_once() == {R: 1}
    assert "tried alone" not in caplog.text
    await pauses.clear("shop")
    assert await turn(rig, last) == {A: 1}


async def nothing(item: Event, tx: Any) -> None:
    """Apply it."""


async def test_a_replayed_letter_of_it_waits_too(rig: Rig, pauses: Pauses) -> None:
    verdicts: list[Exception] = [Reject("no")]

    async def moody(item: Event, tx: Any) -> None:
        if verdicts:
            raise verdicts.pop()

    rig.handlers.on("shop")(moody)
    worker = rig.worker()
    await rig.send(event("a"))
    assert await turn(rig, worker) == {X: 1}
    await pauses.set("shop", "hold")
    async with rig.pool.connection() as connection:
        (letter,) = await letters.select(connection, Filter(), limit=2)
        await replaying.replay(rig.stream, connection, [letter.id], rate=100)
    assert await turn(rig, worker) == {R: 1}
    assert await rig.rows("SELECT status FROM dead_letters") == [("replaying",)]
    assert (await rig.audit()).unaccounted == 0
    await pauses.clear("shop")
    assert await turn(rig, worker) == {A: 1}
    assert await rig.rows("SELECT status FROM dead_letters") == [("resolved",)]


async def test_an_orphan_whose_parent_comes_while_its_source_is_on_hold_is_applied_when_that_goes_on(
    rig: Rig, pauses: Pauses
) -> None:
    rig.schedule = Schedule([HOUR_MS], 0)

    async def child(item: Event, tx: Any) -> None:
        if item.attempt == 1:
            raise Retry(waiting_for="parent:p")

    rig.handlers.on("shop")(child)
    worker = rig.worker()
    await rig.send(event("o"))
    assert await turn(rig, worker) == {R: 1}
    await pauses.set("shop", "hold")
    assert await rig.stream.release(["parent:p"]) == 1
    assert await turn(rig, worker) == {R: 1}
    await pauses.clear("shop")
    assert await turn(rig, worker) == {A: 1}


async def test_parked_behind_the_back_of_a_resume_they_are_due_with_the_next_look(rig: Rig, pauses: Pauses) -> None:
    """The worker has not heard of it yet: whoever resumed the source has looked for what waits already."""
    worker = rig.worker()
    await worker.intake.make_groups()
    await pauses.set("shop", "hold")
    await look(worker)
    await rig.send(event("a"), event("b"))
    await pauses.clear("shop")
    assert await rig.stream.resume("shop") == 0
    settle = rig.stream.settle

    async def slow(*args: Any) -> Any:
        await look(worker)  # and hears of it while it parks them
        return await settle(*args)

    rig.stream.settle = slow  # type: ignore[method-assign,assignment]
    while sum((await worker.run_once()).values()):
        pass
    rig.stream.settle = settle  # type: ignore[method-assign]
    assert await turn(rig, worker) == {"ignored": 2}


async def test_parked_while_the_worker_resumes_they_are_due_with_the_next_look(rig: Rig, pauses: Pauses) -> None:
    """A lane had decided before the look, and is done in the middle of it."""
    worker = rig.worker()
    await worker.intake.make_groups()
    await pauses.set("shop", "hold")
    await look(worker)
    resume, settle = rig.stream.resume, rig.stream.settle
    looking: list[asyncio.Task[int]] = []
    looked, parked = asyncio.Event(), asyncio.Event()

    async def slow_resume(source: str, **_: Any) -> int:
        released = await resume(source)
        looked.set()
        await parked.wait()
        return released

    async def slow_settle(*args: Any) -> Any:
        await pauses.clear("shop")
        looking.append(asyncio.create_task(look(worker)))
        await looked.wait()
        return await settle(*args)

    rig.stream.resume, rig.stream.settle = slow_resume, slow_settle  # type: ignore[method-assign,assignment]
    await rig.send(event("a"))
    while not looking:
        await worker.run_once()
    parked.set()
    assert await looking[0] == 0
    assert await look(worker) == 1


async def test_a_resume_that_died_in_the_middle_is_finished_by_the_workers(rig: Rig, pauses: Pauses) -> None:
    first, second = rig.worker("w1"), rig.worker("w2")
    await pauses.set("shop", "hold")
    await look(second)
    await rig.send(event("a"))
    assert await turn(rig, first) == {R: 1}
    await pauses.clear("shop")  # and whoever did so is killed
    resume = rig.stream.resume
    rig.stream.resume = dies  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await look(second)
    rig.stream.resume = resume  # type: ignore[method-assign]
    assert await look(second) == 1


async def test_a_worker_that_starts_looks_for_what_was_left_waiting(rig: Rig, pauses: Pauses) -> None:
    await pauses.set("shop", "hold")
    await rig.send(event("a"))
    assert await turn(rig, rig.worker("w1")) == {R: 1}
    await pauses.clear("shop")  # by somebody who died then, as did every worker
    later = rig.worker("w2", sources=["shop", "crm"])
    await later.pausing.begin()
    assert await look(later) == 1


async def test_changed_to_refuse_it_only_concerns_the_gate_and_what_waited_is_applied(rig: Rig, pauses: Pauses) -> None:
    worker = rig.worker()
    await pauses.set("shop", "hold")
    await rig.send(event("a"))
    assert await turn(rig, worker) == {R: 1}
    await pauses.set("shop", "refuse")
    await rig.send(event("b"))
    assert await turn(rig, worker) == {"ignored": 2}


async def test_dying_while_parking_loses_and_doubles_nothing(rig: Rig, pauses: Pauses, effects: Any) -> None:
    """Before the move, and after it with its answer lost."""
    rig.handlers.on("shop")(effects)
    await pauses.set("shop", "hold")
    await rig.send(*(event(f"e{n}") for n in range(10)))
    settle = rig.stream.settle

    async def then_dies(*args: Any) -> Any:
        await settle(*args)
        raise DiedError

    for name, fate in (("w1", dies), ("w2", then_dies)):
        worker = rig.worker(name)
        await worker.intake.make_groups()
        await look(worker)
        await sweep(rig, worker)
        rig.stream.settle = fate  # type: ignore[method-assign,assignment]
        with pytest.raises((asyncio.CancelledError, DiedError)):
            await worker.run_once()
        rig.stream.settle = settle  # type: ignore[method-assign]
        assert (await rig.audit()).unaccounted == 0
    last = rig.worker("w3")
    await look(last)
    await sweep(rig, last)
    await turn(rig, last)
    assert await places(rig) == (10, 10)
    await pauses.clear("shop")
    assert await turn(rig, last) == {A: 10}
    assert await happened(rig) == {f"e{n}": 1 for n in range(10)}


async def test_held_for_longer_than_anybody_remembers_it_by_name_it_is_parked_anew(
    rig: Rig, pauses: Pauses, at_once: None
) -> None:
    """No worker ran for days, and the set of what waits has expired: the due times are the backstop."""
    worker = rig.worker()
    await pauses.set("shop", "hold")
    await rig.send(event("a"), event("b"), event("c"))
    await worker.intake.make_groups()
    await look(worker)
    while sum((await worker.run_once()).values()):
        pass
    for keys in rig.stream.keys:
        await rig.stream.client.delete(keys.held("shop"))
    assert await places(rig) == (3, 0)
    await rig.upkeep(worker).reenter()
    while sum((await worker.run_once()).values()):
        pass
    assert await places(rig) == (3, 3)


async def test_a_million_of_them_are_not_all_due_at_the_same_time(rig: Rig, pauses: Pauses) -> None:
    await pauses.set("shop", "hold")
    await rig.send(*(event(f"e{n}") for n in range(50)))
    await turn(rig, rig.worker())
    client: Any = rig.stream.client
    due = [score for keys in rig.stream.keys for _, score in await client.zrange(keys.due, 0, -1, withscores=True)]
    assert len(due) == 50
    assert max(due) - min(due) > HOUR_MS
    for keys in rig.stream.keys:
        assert await rig.stream.client.ttl(keys.held("shop")) * 1000 > HOUR_MS


async def test_put_on_hold_while_its_events_keep_a_batch_from_postgres_they_leave_it_and_the_others_go_on(
    rig: Rig, pauses: Pauses, effects: Any
) -> None:
    """A table that shop's handler needs is missing: every lane waits, with a batch that holds some of shop's."""
    tries: Counter[str] = Counter()

    async def handler(item: Event, tx: Any) -> None:
        tries[item.source] += 1
        if item.source == "shop":
            await tx.execute("SELECT * FROM missing")
        await effects(item, tx)

    rig.handlers.on("*")(handler)
    worker = rig.worker(concurrency=1)
    await worker.intake.make_groups()
    for n in range(10):
        await rig.send(event(f"s{n}"), event(f"c{n}", source="crm"))
    running = asyncio.create_task(worker.run())

    async def tried() -> bool:
        return tries["shop"] > 0

    await until(tried)
    await pauses.set("shop", "hold")
    await look(worker)

    async def applied() -> bool:
        return (await rig.audit()).balance.applied == 10

    await until(applied)
    assert await places(rig) == (10, 10)
    await rig.rows_none("CREATE TABLE missing ()")
    await pauses.clear("shop")
    await look(worker)

    async def all_applied() -> bool:
        await rig.upkeep(worker).reenter()
        return (await rig.audit()).balance.applied == 20

    await until(all_applied)
    worker.stop()
    await running
    assert set((await happened(rig)).values()) == {1}


async def test_a_worker_whose_every_lane_parked_what_it_had_tries_postgres_again(
    rig: Rig, pauses: Pauses, effects: Any
) -> None:
    """The breaker waits for a lane to try; with empty hands none would, and the worker would stand still for ever."""

    async def handler(item: Event, tx: Any) -> None:
        await tx.execute("SELECT * FROM missing")

    rig.handlers.on("shop")(handler)
    rig.handlers.on("crm")(effects)
    worker = rig.worker(concurrency=1)
    await worker.intake.make_groups()
    await rig.send(event("a"))
    running = asyncio.create_task(worker.run())

    async def is_open() -> bool:
        return worker.committer.breaker.state is State.OPEN

    await until(is_open)
    await pauses.set("shop", "hold")
    await look(worker)
    await rig.send(event("b", source="crm"))

    async def applied() -> bool:
        return (await rig.audit()).balance.applied == 1

    await until(applied)
    worker.stop()
    await running


async def test_a_trial_that_waits_for_postgres_lets_go_when_its_source_is_put_on_hold(
    rig: Rig, pauses: Pauses, effects: Any
) -> None:
    """The breaker lets one lane in to try for all: were it to leave without a word, nobody would ever try again."""
    rig.handlers.on("*")(effects)
    worker = rig.worker(concurrency=2)
    await worker.intake.make_groups()
    breaker = worker.committer.breaker
    await rig.send(event("a"))
    (entry,) = await worker.intake.next(block=False) or await worker.intake.next(block=False)
    breaker.failed(ConnectionError("away"), at_once=True)
    trying = asyncio.create_task(worker.work([replace(entry, deliveries=3)]))
    await asyncio.sleep(0)
    await pauses.set("shop", "hold")
    await look(worker)
    assert await asyncio.wait_for(trying, 20) == {R: 1}
    assert breaker.state is State.OPEN, "it must not take the one that left for one that tries"
    await asyncio.wait_for(worker.committer.ready(), 20)


@pytest.fixture
def declared() -> Iterator[None]:
    before = metrics.sources()
    metrics.declare_sources(["shop"])
    yield
    metrics.declare_sources(before)


async def test_parking_is_counted_as_retries_that_are_paused(rig: Rig, pauses: Pauses, declared: None) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("tidegate_retries_total", {"source": "shop", "reason": "paused"}) or 0.0

    before = counted()
    await pauses.set("shop", "hold")
    await rig.send(event("a"), event("b"))
    await turn(rig, rig.worker())
    assert counted() - before == 2
