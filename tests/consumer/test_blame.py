"""Whose fault it is: an event pays for what is its own, an outage pauses everybody, and nobody pays for somebody else."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from consumer.breaker import State
from consumer.outcome import Schedule
from consumer.worker import Worker
from tests.consumer.scene import A, R, X, happened, sweep
from tests.fixtures import Rig, event, until
from tidegate import Event, Reject, Retry, postgres, release
from tidegate.settings import PostgresSettings

NO_OUTAGE: dict[str, Any] = {"breaker_failures": 1, "reconnect_seconds": 0.1}
"""A worker that takes something for an outage of Postgres ends with UnreachableError at its second look."""
NOWHERE = "postgresql://nobody@127.0.0.1:1/elsewhere"


async def state_of(worker: Worker, state: State) -> None:
    async def reached() -> bool:
        return worker.committer.breaker.state is state

    await until(reached, seconds=10)


async def test_an_event_whose_handlers_are_slow_one_after_the_other_costs_itself_an_attempt(rig: Rig) -> None:
    """Each keeps its own limit; together they would outlast the transaction, and its cut look like an outage."""
    for number in range(4):

        async def slow(item: Event, tx: Any) -> None:
            await tx.execute("SELECT pg_sleep(0.15)")

        slow.__name__ = f"slow{number}"
        rig.handlers.on("shop")(slow)
    rig.transaction_seconds = 0.5
    await rig.send(event("bad"))
    worker = rig.worker(event_seconds=0.25, batch_seconds=0.3, **NO_OUTAGE)
    assert await rig.drain(worker) == {R: 2, X: 1}
    assert await rig.rows("SELECT reason FROM dead_letters") == [("exhausted",)]


async def test_a_handler_that_will_not_be_cancelled_costs_its_event_an_attempt_and_its_neighbours_nothing(
    rig: Rig, effects: Any
) -> None:
    """Only the cut of its connection ends it. We did that, and not Postgres."""

    async def stubborn(item: Event, tx: Any) -> None:
        while item.provider_event_id == "bad" and not tx.is_lost:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        await effects(item, tx)

    rig.handlers.on("shop")(stubborn)
    rig.transaction_seconds = 0.5
    rig.schedule = Schedule([0], 0)
    await rig.send(event("bad"), event("good"))
    worker = rig.worker(event_seconds=0.2, batch_seconds=0.3, **NO_OUTAGE)
    assert await rig.drain(worker) == {A: 1, R: 1, X: 1}
    assert await happened(rig) == {"good": 1}
    ((error,),) = await rig.rows("SELECT error FROM dead_letters")
    assert error == "TimeoutError: the handler took longer than 0.2 s"


async def test_a_postgres_too_slow_for_our_own_statements_is_an_outage_and_costs_no_attempt(
    rig: Rig, effects: Any, postgres_url: str
) -> None:
    """Its disk stalls: the INSERT of the event itself times out, again and again, and no handler has run yet."""
    attempts: list[int] = []

    async def handler(item: Event, tx: Any) -> None:
        attempts.append(item.attempt)
        await effects(item, tx)

    rig.handlers.on("shop")(handler)
    await rig.rows_none(
        "CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(9); RETURN NEW; END $$"
    )
    await rig.rows_none("CREATE TRIGGER stall BEFORE INSERT ON events EXECUTE FUNCTION stall()")
    async with postgres.pool(postgres_url, PostgresSettings(statement_timeout_ms=100), "test") as impatient:
        worker = Rig(rig.stream, rig.reader, impatient, rig.handlers).worker(breaker_seconds_max=0.1)
        await worker.intake.make_groups()
        await rig.send(event("innocent"))
        turn = asyncio.create_task(worker.run_once())
        await state_of(worker, State.OPEN)
        await rig.rows_none("DROP TRIGGER stall ON events")
        assert await asyncio.wait_for(turn, 10) == {A: 1}
    assert attempts == [1]


async def test_an_outage_of_another_postgres_costs_its_event_an_attempt_and_its_neighbours_nothing(
    rig: Rig, effects: Any
) -> None:
    """A handler's own connection to a reporting database, say: psycopg's errors, but not about ours."""

    async def asks_elsewhere(item: Event, tx: Any) -> None:
        if item.provider_event_id == "bad":
            await psycopg.AsyncConnection.connect(NOWHERE, connect_timeout=2)
        await effects(item, tx)

    rig.handlers.on("shop")(asks_elsewhere)
    await rig.send(event("bad"), event("good"))
    assert await rig.drain(rig.worker(**NO_OUTAGE)) == {A: 1, R: 2, X: 1}
    assert await happened(rig) == {"good": 1}


@pytest.mark.parametrize("mistake", ["waiting_for", "release"])
async def test_a_handler_that_names_a_parent_by_number_costs_its_event_an_attempt_and_no_worker(
    rig: Rig, mistake: str
) -> None:
    async def mistaken(item: Event, tx: Any) -> None:
        if mistake == "release":
            release(42)  # type: ignore[arg-type]
        raise Retry(waiting_for=42)  # type: ignore[arg-type]

    rig.handlers.on("shop")(mistaken)
    await rig.send(event("bad"))
    assert await rig.drain() == {R: 2, X: 1}
    ((error,),) = await rig.rows("SELECT error FROM dead_letters")
    assert error.startswith("TypeError")
    assert "42" in error


async def test_a_letter_that_postgres_refuses_pauses_the_worker_until_somebody_mends_that(rig: Rig) -> None:
    """A team's own CHECK on dead_letters. Ended by it, each next worker would end likewise, and nobody know why."""

    async def rejects(item: Event, tx: Any) -> None:
        raise Reject("no")

    rig.handlers.on("shop")(rejects)
    await rig.rows_none("ALTER TABLE dead_letters ADD CONSTRAINT ours CHECK (provider_event_id <> 'bad')")
    worker = rig.worker(breaker_seconds_max=0.1)
    await worker.intake.make_groups()
    await rig.send(event("bad"))
    turn = asyncio.create_task(worker.run_once())
    await state_of(worker, State.OPEN)
    assert "refuses what we write of our own" in worker.committer.breaker.why
    await rig.rows_none("ALTER TABLE dead_letters DROP CONSTRAINT ours")
    assert await asyncio.wait_for(turn, 10) == {X: 1}
    assert await rig.rows("SELECT reason FROM dead_letters") == [("rejected",)]


async def test_a_row_that_somebody_holds_locked_holds_up_its_own_event_only_and_costs_no_attempt(
    rig: Rig, effects: Any, postgres_url: str
) -> None:
    """A psql left open: its neighbours are applied, and it comes back until the row is free, however often."""
    attempts: list[int] = []

    async def handler(item: Event, tx: Any) -> None:
        attempts.append(item.attempt)
        await effects(item, tx)

    rig.handlers.on("shop")(handler)
    await rig.rows_none("INSERT INTO effects VALUES ('locked', 0)")
    async with (
        await psycopg.AsyncConnection.connect(postgres_url) as person,
        postgres.pool(postgres_url, PostgresSettings(lock_timeout_ms=50), "test") as impatient,
    ):
        await person.execute("SELECT * FROM effects WHERE name = 'locked' FOR UPDATE")
        mine = Rig(rig.stream, rig.reader, impatient, rig.handlers, Schedule([50], 0))
        worker = mine.worker()
        upkeep = mine.upkeep(worker)
        await worker.intake.make_groups()
        await rig.send(event("locked"), event("good"))
        async with asyncio.timeout(10):
            assert await worker.run_once() == {A: 1, R: 1}
            for _ in range(2):  # more often than its schedule allows attempts
                await until(upkeep.reenter)
                assert await worker.run_once() == {R: 1}
        assert await happened(rig) == {"locked": 0, "good": 1}
        await person.rollback()
        assert await mine.drain(worker) == {A: 1}
    assert await happened(rig) == {"locked": 1, "good": 1}
    assert set(attempts) == {1}


async def test_one_events_data_in_a_statements_text_does_not_stop_the_fleet(rig: Rig, effects: Any) -> None:
    """A path from the payload that is no path: a syntax error, of the class of a missing table, but of one event."""

    async def looks(item: Event, tx: Any) -> None:
        path = "$.a ((" if item.provider_event_id == "bad" else "$.a"
        await tx.execute("SELECT jsonb_path_query('{}', %s::text::jsonpath)", [path])
        await effects(item, tx)

    rig.handlers.on("shop")(looks)
    await rig.send(event("bad"), *(event(f"e{n}") for n in range(3)))
    assert await rig.drain(rig.worker(**NO_OUTAGE)) == {A: 3, R: 2, X: 1}
    assert await happened(rig) == {f"e{n}": 1 for n in range(3)}


async def test_a_suspect_whose_workers_are_killed_while_it_waits_for_postgres_is_not_condemned(
    rig: Rig, effects: Any
) -> None:
    """Nothing of it has run: that its worker dies meanwhile is no evidence against it."""
    rig.handlers.on("shop")(effects)
    first = rig.worker("w0")
    await first.intake.make_groups()
    await rig.send(event("suspect"))
    await first.intake.next(block=False)
    assert await sweep(rig, rig.worker("w1")) == 1
    for name in ("w2", "w3"):
        worker = rig.worker(name)
        assert await sweep(rig, worker) == 1
        lane = asyncio.create_task(worker.work(await worker.intake.next(block=False)))
        await waiting_for_postgres(worker)
        lane.cancel()
        await asyncio.gather(lane, return_exceptions=True)
    last = rig.worker("w4")
    assert await sweep(rig, last) == 1
    assert await rig.drain(last) == {A: 1}


async def waiting_for_postgres(worker: Worker) -> None:
    """Return once a lane of ``worker``, which has not started yet, waits for the breaker to let it try."""
    breaker = worker.committer.breaker
    waits = asyncio.Event()
    wait = breaker._wait

    async def noted() -> None:
        waits.set()
        await wait()

    breaker._wait = noted  # type: ignore[method-assign]
    for _ in range(3):
        breaker.failed(psycopg.OperationalError("down"))
    breaker._probe_at += 3600
    await asyncio.wait_for(waits.wait(), 10)


async def test_a_deploy_that_lowers_the_number_of_deliveries_condemns_nobody_untried(rig: Rig, effects: Any) -> None:
    """It was claimed often enough for the new limit, but never tried alone."""
    rig.handlers.on("shop")(effects)
    before = rig.worker("w0", deliveries_max=5)
    await before.intake.make_groups()
    await rig.send(event("a"))
    await before.intake.next(block=False)
    for number in range(3):
        assert await sweep(rig, rig.worker(f"w{number + 1}", deliveries_max=5)) == 1
    after = rig.worker("after", deliveries_max=2)
    assert await sweep(rig, after) == 1
    assert await rig.drain(after) == {A: 1}
    assert await happened(rig) == {"a": 1}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_terminate_backend(pg_backend_pid())",
        "SELECT * FROM not_there",
        "BEGIN READ ONLY; CREATE TABLE x (a int)",
        "SET statement_timeout = 1; SELECT pg_sleep(1)",
    ],
    ids=["gone", "without our table", "read-only", "slow"],
)
async def test_what_another_postgres_says_to_a_handler_is_no_outage_of_ours(
    rig: Rig, effects: Any, postgres_url: str, statement: str
) -> None:
    """The very same states, on our own connection, would pause the worker."""

    async def asks(item: Event, tx: Any) -> None:
        if item.provider_event_id == "bad":
            async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as other:
                await other.execute(statement.encode())
        await effects(item, tx)

    rig.handlers.on("shop")(asks)
    await rig.send(event("bad"), event("good"))
    assert await rig.drain(rig.worker(**NO_OUTAGE)) == {A: 1, R: 2, X: 1}
    assert await happened(rig) == {"good": 1}
