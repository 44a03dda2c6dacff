"""One bad event: it alone leaves, as a letter with its reason; its neighbours commit."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.consumer.scene import A, R, X, happened
from tests.fixtures import Rig, appendable, event
from tidegate import Batch, Event
from tidegate.event import Delivery
from tidegate.stream import Client


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
