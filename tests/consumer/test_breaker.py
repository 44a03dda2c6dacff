"""The breaker on Postgres: an outage pauses a worker, costs no attempt, and ends with one probe."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY

from consumer.breaker import Breaker, State
from consumer.outage import Outage
from tests.consumer.scene import happened
from tests.fixtures import Rig, event, until
from tidegate import Event
from tidegate.errors import UnreachableError

DOWN = psycopg.OperationalError("down")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(Outage("Postgres", 300), failures_max=3, open_seconds=1, open_seconds_max=8, clock=clock)


def opened(breaker: Breaker) -> Breaker:
    for _ in range(3):
        breaker.failed(DOWN)
    return breaker


async def states(breaker: Breaker, count: int) -> list[asyncio.Task[None]]:
    """Let ``count`` lanes ask to enter, and each get as far as it can."""
    tasks = [asyncio.create_task(breaker.enter()) for _ in range(count)]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_single_failures_do_not_open_it(breaker: Breaker) -> None:
    for _ in range(10):
        breaker.failed(DOWN)
        breaker.failed(DOWN)
        breaker.succeeded()
    assert breaker.state is State.CLOSED
    await asyncio.wait_for(breaker.enter(), 5)


async def test_wrong_rights_open_it_at_once_and_say_so(breaker: Breaker) -> None:
    breaker.failed(psycopg.errors.UndefinedTable("no such table"), "refuses our statements", at_once=True)
    assert breaker.state is State.OPEN
    assert breaker.why == "refuses our statements: no such table"


async def test_after_the_pause_one_lane_tries_and_the_others_wait_for_its_word(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    assert not any(task.done() for task in await states(breaker, 4)), "nobody may enter while it is open"
    clock.now += 2
    lanes = await states(breaker, 4)
    assert [task.done() for task in lanes] == [True, False, False, False]
    assert breaker.state is State.HALF_OPEN
    breaker.succeeded()
    await asyncio.wait_for(asyncio.gather(*lanes), 5)
    await asyncio.wait_for(breaker.enter(), 5)


async def test_a_failed_probe_opens_it_for_longer(breaker: Breaker, clock: Clock) -> None:
    async def probe_in(seconds: float) -> bool:
        clock.now += seconds
        task = asyncio.create_task(breaker.enter())
        for _ in range(5):
            await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            return False
        # The one that was let in is the one whose word counts.
        breaker._probe = asyncio.current_task()
        breaker.failed(DOWN)
        return True

    opened(breaker)
    assert await probe_in(1.0)
    assert not await probe_in(1.0), "the second pause is twice the first"
    assert await probe_in(1.0)
    for _ in range(10):
        assert await probe_in(8.0), "no pause is longer than the longest"


async def test_a_probe_that_is_called_away_leaves_its_place_to_the_next(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 2

    async def leaves() -> None:
        await breaker.enter()
        breaker.left()

    await leaves()
    lanes = await states(breaker, 2)
    assert [task.done() for task in lanes] == [True, False]
    breaker.succeeded()
    await asyncio.gather(*lanes)


async def test_a_transaction_that_began_before_it_opened_changes_nothing_by_failing_late(
    breaker: Breaker, clock: Clock
) -> None:
    opened(breaker)
    clock.now += 2
    await asyncio.create_task(breaker.enter())
    breaker.failed(DOWN)  # not the probe's word
    assert breaker.state is State.HALF_OPEN


async def test_an_outage_beyond_the_limit_ends_the_worker(clock: Clock) -> None:
    breaker = Breaker(Outage("Postgres", 0), failures_max=1, open_seconds=0.001, clock=clock)
    breaker.failed(DOWN)
    clock.now += 1
    await breaker.enter()
    with pytest.raises(UnreachableError, match="Postgres does not answer"):
        breaker.failed(DOWN)


async def test_while_postgres_is_of_no_use_nothing_is_read_and_no_attempt_is_consumed(rig: Rig, effects: Any) -> None:
    """A table is missing: the worker keeps what it holds, leaves the rest on the stream, and says what is wrong."""
    attempts: list[int] = []

    async def handler(item: Event, tx: Any) -> None:
        attempts.append(item.attempt)
        await effects(item, tx)

    rig.handlers.on("shop")(handler)
    worker = rig.worker(concurrency=3, breaker_seconds_max=0.3)
    breaker = worker.committer.breaker
    await worker.intake.make_groups()
    await rig.rows_none("ALTER TABLE effects RENAME TO elsewhere")
    running = asyncio.create_task(worker.run())
    await rig.send(event("a"))

    async def open_() -> bool:
        return breaker.state is not State.CLOSED

    await until(open_)
    assert "effects" in breaker.why
    assert REGISTRY.get_sample_value("tidegate_breaker_state", {"target": "postgres"}) in (1, 2)
    await rig.send(*(event(f"e{n}") for n in range(20)))

    async def probed_again() -> bool:
        return len(attempts) >= 4

    await until(probed_again)
    held = worker.intake.holding
    assert sum(len(held.of(shard)) for shard in range(2)) <= 3, "it must leave what it cannot apply to others"
    await rig.rows_none("ALTER TABLE elsewhere RENAME TO effects")

    async def done() -> bool:
        return (await rig.audit()).balance.applied == 21

    await until(done, seconds=40)
    worker.stop()
    await running
    assert set(attempts) == {1}
    assert await rig.rows("SELECT count(*) FROM dead_letters") == [(0,)]
    assert await happened(rig) == {"a": 1, **{f"e{n}": 1 for n in range(20)}}


def test_the_states_are_what_the_metric_says() -> None:
    assert [state.value for state in State] == [0, 1, 2]
