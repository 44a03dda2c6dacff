"""What a user would lose if the worker were wrong: events lost, doubled, or stuck behind a bad neighbour."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from consumer.outcome import Outcome, Schedule
from dlq import replay
from tests.fixtures import Rig, appendable, event, until
from tidegate import Batch, Event, Reject, Retry, release
from tidegate.event import Delivery
from tidegate.stream import GROUP, Client

A, D, I, R, X = Outcome.APPLIED, Outcome.DUPLICATE, Outcome.IGNORED, Outcome.RETRY, Outcome.DEAD  # noqa: E741


class DiedError(BaseException):
    """As if the process ended here: nothing of ours catches it."""


@pytest.fixture
async def effects(rig: Rig) -> Any:
    """A table that counts how often each event took effect, and a function that writes to it."""
    await rig.rows_none("CREATE TABLE effects (name text PRIMARY KEY, times int NOT NULL)")

    async def write(item: Event, tx: psycopg.AsyncConnection[Any]) -> None:
        await tx.execute(
            "INSERT INTO effects VALUES (%s, 1) ON CONFLICT (name) DO UPDATE SET times = effects.times + 1",
            [item.provider_event_id],
        )

    return write


async def happened(rig: Rig) -> dict[str, int]:
    return dict(await rig.rows("SELECT name, times FROM effects"))


async def test_an_event_is_applied_with_its_effect_and_recorded(rig: Rig, effects: Any) -> None:
    rig.handlers.on("shop", "order.*")(effects)
    sent = event("a", key="order:1", payload=b'{"price": 1.10}')
    await rig.send(sent)
    assert await rig.drain() == {A: 1}
    assert await happened(rig) == {"a": 1}
    (row,) = await rig.rows("SELECT source, event_type, key, delivery_id, outcome, payload ->> 'price' FROM events")
    assert row == ("shop", "order.paid", "order:1", sent.delivery_id, "applied", "1.10")


async def test_an_event_nobody_wants_is_stored_as_ignored(rig: Rig) -> None:
    await rig.send(event("a"))
    assert await rig.drain() == {I: 1}
    assert await rig.rows("SELECT outcome FROM events") == [("ignored",)]


async def test_a_second_delivery_of_an_event_is_a_duplicate_without_effect(rig: Rig, effects: Any) -> None:
    rig.handlers.on("shop")(effects)
    await rig.send(event("a"))
    await rig.drain()
    # The gate has forgotten the event: its early dedupe expires, the truth is in Postgres.
    shard = rig.stream.shard_of("shop", "a")
    await rig.stream.client.delete(*rig.stream._seen(rig.stream.keys[shard]))
    await rig.send(event("a"))
    assert await rig.drain() == {D: 1}
    assert await happened(rig) == {"a": 1}


async def test_dying_between_commit_and_settle_doubles_nothing(rig: Rig, effects: Any) -> None:
    """The first worker commits and never settles; the second claims and recognises the event by its delivery id."""
    rig.handlers.on("shop", "order.*")(effects)
    await rig.send(event("a"), event("b", event_type="unwanted"))
    first = rig.worker("w1")
    await first.intake.make_groups()
    settle, rig.stream.settle = rig.stream.settle, _dies  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await first.run_once()
    rig.stream.settle = settle  # type: ignore[method-assign]
    assert await happened(rig) == {"a": 1}
    second = rig.worker("w2")
    assert await _sweep(rig, second) == 2
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
    assert await _sweep(rig, second) == 1
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
    await _sweep(rig, other)
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
    await _sweep(rig, second)
    burying = asyncio.create_task(second.run_once())
    await until(lambda: _waits_for_lock(rig))
    leave.set()
    outcomes = [await applying, await burying]
    assert {A: 1} in outcomes
    assert await happened(rig) == {"a": 1}
    assert await rig.rows("SELECT count(*) FROM dead_letters") == [(0,)]


async def test_one_bad_payload_leaves_and_its_neighbours_commit(rig: Rig, effects: Any) -> None:
    """Pitfall 19. Postgres refuses NUL and lone surrogates in jsonb: each is a letter with its bytes, the rest applied."""
    rig.handlers.on("shop")(effects)
    bad = {"nul": b'{"x": "\\u0000"}', "surrogate": b'{"x": "\\ud800"}', "garbage": b"\xff\xfe"}
    names = [f"e{n}" for n in range(20)]
    await rig.send(*(event(name) for name in names), *(event(name, payload=raw) for name, raw in bad.items()))
    assert await rig.drain() == {A: 20, X: 3}
    assert await happened(rig) == dict.fromkeys(names, 1)
    letters = await rig.rows("SELECT provider_event_id, payload, reason, status, attempts FROM dead_letters")
    assert sorted(letters) == sorted((name, raw, "invalid", "open", 1) for name, raw in bad.items())


@pytest.mark.parametrize(
    "payload",
    [
        b'{"x": "' + b"a" * 1_048_576 + b'"}',
        b'{"x": ' + b"1" * 10_000 + b"}",
        b"[" * 200 + b"]" * 200,
        b"[]",
        '{"é": "\U0001f600"}'.encode(),
    ],
    ids=["1 MiB", "10,000 digits", "200 deep", "empty array", "unicode"],
)
async def test_unusual_payloads_are_applied_as_they_are(rig: Rig, effects: Any, payload: bytes) -> None:
    rig.handlers.on("shop")(effects)
    await rig.send(event("odd", payload=payload), event("plain"))
    assert await rig.drain() == {A: 2}
    assert await rig.rows(
        "SELECT payload = %s::jsonb FROM events WHERE provider_event_id = 'odd'", payload.decode()
    ) == [(True,)]


async def test_a_failing_handler_is_retried_by_schedule_and_then_dead_with_its_history(rig: Rig, effects: Any) -> None:
    async def fails(item: Event, tx: Any) -> None:
        await effects(item, tx)
        raise ValueError(f"attempt {item.attempt}, password postgres://u:hunter2@db/x")

    rig.handlers.on("shop", "bad")(fails)
    rig.handlers.on("shop", "good")(effects)
    await rig.send(event("a", event_type="bad"), event("b", event_type="good"))
    assert await rig.drain() == {A: 1, R: 2, X: 1}
    assert await happened(rig) == {"b": 1}
    ((reason, attempts, error, history),) = await rig.rows("SELECT reason, attempts, error, history FROM dead_letters")
    assert (reason, attempts) == ("exhausted", 3)
    assert error.startswith("ValueError: attempt 3")
    assert [past["reason"] for past in history] == ["error", "error", "exhausted"]
    assert "hunter2" not in str(history) + error


async def test_a_batch_handler_that_raises_costs_only_the_event_it_raises_for(rig: Rig, effects: Any) -> None:
    async def count(batch: Batch, tx: Any) -> None:
        for item in batch:
            await effects(item, tx)
            if item.provider_event_id == "e7":
                raise KeyError("e7 has no such key")

    rig.handlers.batch("shop")(count)
    await rig.send(*(event(f"e{n}") for n in range(16)))
    outcomes = await rig.drain()
    assert outcomes == {A: 15, R: 2, X: 1}
    assert await happened(rig) == {f"e{n}": 1 for n in range(16) if n != 7}


async def test_a_batch_handler_decides_for_single_events(rig: Rig, effects: Any) -> None:
    async def decide(batch: Batch, tx: Any) -> None:
        for item in batch:
            kind = item.provider_event_id
            if kind == "retry" and item.attempt == 1:
                batch.retry(item, "later", after=0)
            elif kind == "reject":
                batch.reject(item, "never")
            elif kind == "ignore":
                batch.ignore(item)
            else:
                await effects(item, tx)

    rig.handlers.batch("shop")(decide)
    await rig.send(*(event(name) for name in ("plain", "retry", "reject", "ignore")))
    assert await rig.drain() == {A: 2, R: 1, X: 1, I: 1}
    assert await happened(rig) == {"plain": 1, "retry": 1}
    assert await rig.rows("SELECT reason, error FROM dead_letters") == [("rejected", "never")]
    assert sorted(await rig.rows("SELECT provider_event_id, outcome FROM events")) == [
        ("ignore", "ignored"),
        ("plain", "applied"),
        ("retry", "applied"),
    ]


async def test_two_handlers_of_one_event_take_effect_together_or_not_at_all(rig: Rig, effects: Any) -> None:
    """The second handler fails on the first attempt: what the first wrote must not be there twice in the end."""

    async def second(batch: Batch, tx: Any) -> None:
        for item in batch:
            if item.provider_event_id == "b" and item.attempt == 1:
                batch.retry(item, after=0)

    rig.handlers.on("shop")(effects)
    rig.handlers.batch("shop")(second)
    await rig.send(event("a"), event("b"), event("c"))
    assert await rig.drain() == {A: 3, R: 1}
    assert await happened(rig) == {"a": 1, "b": 1, "c": 1}


async def test_a_deferred_constraint_refused_at_commit_costs_only_its_event(rig: Rig) -> None:
    await rig.rows_none("CREATE TABLE parent (id text PRIMARY KEY)")
    await rig.rows_none("CREATE TABLE child (id text REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")

    async def handler(item: Event, tx: Any) -> None:
        if item.provider_event_id != "b":
            await tx.execute("INSERT INTO parent VALUES (%s)", [item.provider_event_id])
        await tx.execute("INSERT INTO child VALUES (%s)", [item.provider_event_id])

    rig.handlers.on("shop")(handler)
    await rig.send(event("a"), event("b"), event("c"))
    assert await rig.drain() == {A: 2, X: 1}
    assert sorted(await rig.rows("SELECT id FROM child")) == [("a",), ("c",)]
    assert await rig.rows("SELECT reason FROM dead_letters") == [("invalid",)]


async def test_a_deadlock_or_an_outage_repeats_the_batch_and_consumes_no_attempt(rig: Rig, effects: Any) -> None:
    """Pitfall 18: an outage sent to the dead letters by exception class is a disaster."""
    failures: list[Exception] = [
        psycopg.errors.DeadlockDetected("40P01"),
        psycopg.errors.AdminShutdown("57P01"),
        psycopg.errors.IdleInTransactionSessionTimeout("25P03"),
        psycopg.OperationalError("connection lost"),
    ]
    attempts: list[int] = []

    async def shaky(item: Event, tx: Any) -> None:
        attempts.append(item.attempt)
        await effects(item, tx)
        if failures:
            raise failures.pop()

    rig.handlers.on("shop")(shaky)
    await rig.send(event("a"))
    assert await rig.drain() == {A: 1}
    assert attempts == [1] * 5
    assert await happened(rig) == {"a": 1}


async def test_an_orphan_is_applied_when_its_parent_comes_without_waiting_for_the_clock(rig: Rig, effects: Any) -> None:
    rig.schedule = Schedule([3_600_000], 0)
    parents: set[str] = set()

    async def child(batch: Batch, tx: Any) -> None:
        for item in batch:
            if "p" in parents:
                await effects(item, tx)
            else:
                batch.retry(item, waiting_for="parent:p")

    async def parent(item: Event, tx: Any) -> None:
        parents.add("p")
        release("parent:p")

    rig.handlers.batch("shop", "child")(child)
    rig.handlers.on("shop", "parent")(parent)
    await rig.send(*(event(f"o{n}", event_type="child") for n in range(5)))
    worker = rig.worker()
    await worker.intake.make_groups()
    while (await worker.run_once())[R]:
        pass
    await rig.send(event("p", event_type="parent"))
    outcomes = await rig.drain(worker)
    assert outcomes == {A: 6}
    assert await happened(rig) == {f"o{n}": 1 for n in range(5)}


async def test_a_parent_committed_while_its_orphan_was_being_parked_is_noticed(rig: Rig, effects: Any) -> None:
    """The release ran before the orphan was on the retry stream: the worker looks for the parent once more."""
    rig.schedule = Schedule([3_600_000], 0)

    async def child(item: Event, tx: Any) -> None:
        if item.attempt == 1:
            raise Retry(waiting_for="parent:p")
        await effects(item, tx)

    asked: list[str] = []

    async def lookup(names: Sequence[str], tx: Any) -> Sequence[str]:
        asked.extend(names)
        return names

    rig.handlers.on("shop")(child)
    rig.handlers.parent("parent")(lookup)
    await rig.send(event("o"))
    assert await rig.drain() == {R: 1, A: 1}
    assert asked == ["parent:p"]


async def test_an_orphan_whose_parent_never_comes_is_a_letter_that_says_so(rig: Rig) -> None:
    async def child(item: Event, tx: Any) -> None:
        raise Retry(waiting_for="parent:p")

    rig.handlers.on("shop")(child)
    await rig.send(event("o"))
    assert await rig.drain() == {R: 2, X: 1}
    assert await rig.rows("SELECT reason, error FROM dead_letters") == [("orphaned", "waiting for parent:p")]


async def test_what_the_gate_could_not_read_is_a_letter_beside_its_neighbours(rig: Rig, effects: Any) -> None:
    rig.handlers.on("shop")(effects)
    await rig.send(Delivery(event("bad"), malformed="eventId is missing"), event("good"))
    assert await rig.drain() == {A: 1, X: 1}
    assert await rig.rows("SELECT reason, error FROM dead_letters") == [("malformed", "eventId is missing")]


async def test_entries_of_another_program_become_letters_and_the_stream_goes_on(
    rig: Rig, effects: Any, client: Client
) -> None:
    rig.handlers.on("shop")(effects)
    events = rig.stream.keys[0].events
    await client.xadd(events, {"hello": b"\xff\x00 world"})
    # What bears a version was counted by the gate that wrote it.
    await client.xadd(events, {"v": "9", "source": "shop", "payload": "from the future"})
    await client.xadd(events, {"v": "1", "source": "shop", "id": "x", "meta": "{}", "payload": "no meta"})
    await client.hincrby(rig.stream.keys[0].ledger, "accepted:shop", 2)
    await rig.send(*(event(f"e{n}") for n in range(4)))
    assert await rig.drain() == {A: 4, X: 3}
    letters = await rig.rows("SELECT source, payload, reason FROM dead_letters ORDER BY payload")
    assert letters == [
        ("shop", b"from the future", "malformed"),
        ("unknown", b"hello\n\xff\x00 world", "malformed"),
        ("shop", b"no meta", "malformed"),
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "nul \x00"},
        {"id": "x" * 3000},
        {"id": ""},
        {"source": "y" * 3000},
        {"meta": {"occurred_ms": 10**18}},
        {"meta": {"received_ms": -1}},
        {"meta": {"attempt": 2**40}},
        {"meta": {"replay": 2**40}},
        {"meta": {"type": "z" * 10_000}},
        {"meta": {"key": "\ud800"}},
        {"meta": {"history": 5}},
        {"meta": {"headers": 5}},
        {"meta": {"occurred_ms": float("inf")}},
        {"meta": {"history": [[float("inf"), "a", "b"]]}},
    ],
    ids=str,
)
async def test_an_entry_that_no_row_can_hold_is_a_letter_and_does_not_stop_its_batch(
    rig: Rig, effects: Any, client: Client, changed: dict[str, Any]
) -> None:
    rig.handlers.on("shop")(effects)
    item = appendable(event("bad"))
    fields: dict[Any, Any] = {"v": "1", "source": "shop", "id": "bad", "payload": item.payload}
    fields |= {name: value for name, value in changed.items() if name != "meta"}
    fields["meta"] = json.dumps(json.loads(item.meta) | changed.get("meta", {}))
    await client.xadd(rig.stream.keys[0].events, fields)
    await client.hincrby(rig.stream.keys[0].ledger, "accepted:shop", 1)
    await rig.send(*(event(f"e{n}") for n in range(4)))
    assert await rig.drain() == {A: 4, X: 1}
    assert await rig.rows("SELECT reason, payload FROM dead_letters") == [("malformed", item.payload)]


async def test_an_event_whose_row_a_constraint_of_the_users_refuses_is_a_letter(rig: Rig, effects: Any) -> None:
    rig.handlers.on("shop")(effects)
    await rig.rows_none("ALTER TABLE events ADD CHECK (event_type <> 'forbidden')")
    await rig.send(event("a", event_type="forbidden"), event("b"), event("c", event_type="forbidden"), event("d"))
    assert await rig.drain() == {A: 2, X: 2}
    assert await happened(rig) == {"b": 1, "d": 1}


async def test_a_lost_read_is_read_again(rig: Rig, effects: Any) -> None:
    """Pitfall 3: the server delivered, the answer was lost, and the entries are pending for a consumer that never saw them."""
    rig.handlers.on("shop")(effects)
    await rig.send(event("a"), event("b"))
    worker = rig.worker("w1")
    await worker.intake.make_groups()
    read = rig.stream.read

    async def lost(*args: Any, **kwargs: Any) -> Any:
        await read(*args, **kwargs)
        raise ConnectionResetError("cut")

    rig.stream.read = lost  # type: ignore[method-assign]
    with pytest.raises(ConnectionResetError):
        await worker.intake.next(block=False)
    rig.stream.read = read  # type: ignore[method-assign]
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


async def test_leaving_hands_back_what_was_not_done(rig: Rig, effects: Any) -> None:
    rig.handlers.on("shop")(effects)
    await rig.send(*(event(f"e{n}") for n in range(10)))
    first = rig.worker("w1")
    await first.intake.make_groups()
    held = await first.intake.next(block=False)
    assert await first.intake.leave(idle_ms=60_001) == len(held)
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
    assert await worker.intake.leave(idle_ms=60_000) == 1
    assert await happened(rig) == {}


async def test_a_handler_that_cancels_its_task_costs_its_event_an_attempt_and_no_worker(rig: Rig, effects: Any) -> None:
    async def cancels(item: Event, tx: Any) -> None:
        if item.provider_event_id == "bad":
            raise asyncio.CancelledError
        await effects(item, tx)

    rig.handlers.on("shop")(cancels)
    await rig.send(event("bad"), event("good"))
    assert await rig.drain() == {A: 1, R: 2, X: 1}
    assert await happened(rig) == {"good": 1}


@pytest.mark.parametrize("error", [FileNotFoundError("/x"), TimeoutError(), ConnectionRefusedError("its API")], ids=str)
async def test_an_outage_of_what_a_handler_calls_is_not_one_of_postgres(
    rig: Rig, effects: Any, error: Exception
) -> None:
    async def calls(item: Event, tx: Any) -> None:
        if item.provider_event_id == "bad":
            raise error
        await effects(item, tx)

    rig.handlers.on("shop")(calls)
    await rig.send(event("bad"), event("good"))
    assert await rig.drain() == {A: 1, R: 2, X: 1}
    ((text,),) = await rig.rows("SELECT error FROM dead_letters")
    assert text.startswith(type(error).__name__)


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


async def test_an_event_whose_statement_is_too_slow_does_not_hold_its_batch_for_ever(rig: Rig, effects: Any) -> None:
    async def slow(item: Event, tx: Any) -> None:
        await effects(item, tx)
        if item.provider_event_id == "slow":
            await tx.execute("SET LOCAL statement_timeout = 20")
            await tx.execute("SELECT pg_sleep(5)")

    rig.handlers.on("shop")(slow)
    await rig.send(event("slow"), event("a"), event("b"))
    assert await rig.drain() == {A: 2, R: 2, X: 1}
    assert await happened(rig) == {"a": 1, "b": 1}


async def test_a_deferred_trigger_that_raises_at_commit_costs_only_its_event(rig: Rig) -> None:
    await rig.rows_none("CREATE TABLE t (id text)")
    await rig.rows_none(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.id = 'b' THEN RAISE EXCEPTION 'no b'; END IF; RETURN NULL; END $$"
    )
    await rig.rows_none(
        "CREATE CONSTRAINT TRIGGER tr AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f()"
    )

    async def insert(item: Event, tx: Any) -> None:
        await tx.execute("INSERT INTO t VALUES (%s)", [item.provider_event_id])

    rig.handlers.on("shop")(insert)
    await rig.send(event("a"), event("b"), event("c"))
    assert await rig.drain() == {A: 2, R: 2, X: 1}
    assert sorted(await rig.rows("SELECT id FROM t")) == [("a",), ("c",)]


async def test_an_error_that_cannot_be_read_is_a_letter_too(rig: Rig) -> None:
    class UnreadableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    async def fails(item: Event, tx: Any) -> None:
        raise UnreadableError

    rig.handlers.on("shop")(fails)
    await rig.send(event("a"))
    assert await rig.drain() == {R: 2, X: 1}


async def test_a_letter_replayed_before_the_settle_of_its_death_keeps_the_ledger_exact(rig: Rig) -> None:
    verdict: Exception | None = Reject("no")

    async def handler(item: Event, tx: Any) -> None:
        if verdict is not None:
            raise verdict

    rig.handlers.on("shop")(handler)
    await rig.send(event("a"))
    first, second = rig.worker("w1"), rig.worker("w2")
    await first.intake.make_groups()
    settle, rig.stream.settle = rig.stream.settle, _dies  # type: ignore[method-assign]
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
    await _sweep(rig, second)
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
    await _sweep(rig, other)
    assert await other.run_once() == {R: 1}
    verdict = None
    await zombie.work(entries)
    assert (await rig.audit()).unaccounted == 0


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
    await until(lambda: _is_reading(rig))
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
    assert await _sweep(rig, second) == 0
    third = rig.worker("w3")
    assert await _sweep(rig, third) == 1
    await third.run_once()


async def _is_reading(rig: Rig) -> bool:
    clients = await rig.stream.client.client_list()
    return any(client["cmd"] == "xreadgroup" and "b" in client["flags"] for client in clients)


async def test_the_same_event_twice_in_one_batch_takes_effect_once(rig: Rig, effects: Any) -> None:
    """Pitfall 17: the same key twice in one statement."""
    rig.handlers.on("shop")(effects)
    for _ in range(3):
        shard = rig.stream.shard_of("shop", "a")
        await rig.stream.client.delete(*rig.stream._seen(rig.stream.keys[shard]))
        await rig.send(event("a", delivery_id=uuid.uuid4()))
    assert await rig.drain() == {A: 1, D: 2}
    assert await happened(rig) == {"a": 1}


async def _dies(*_args: Any, **_kwargs: Any) -> Any:
    raise asyncio.CancelledError


async def _sweep(rig: Rig, worker: Any) -> int:
    """Let ``worker`` take over what others hold, as if their lease had run out."""
    upkeep = rig.upkeep(worker, lease_seconds=0)
    return await upkeep.sweep()


async def _waits_for_lock(rig: Rig) -> bool:
    rows = await rig.rows("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return bool(rows[0][0] > 0)
