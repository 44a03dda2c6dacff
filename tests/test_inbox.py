"""The inbox in Postgres: what is answered 202 while Redis is away is there once, and never more than there is room for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import psycopg
import pytest

from tests.fixtures import Rig, appendable, event, until
from tidegate import inbox, postgres
from tidegate.errors import UsageError
from tidegate.inbox import InboxFullError, InboxState
from tidegate.postgres import Connection, Pool, schema
from tidegate.settings import PostgresSettings
from tidegate.stream import Appendable

PLENTY = 1 << 40


def named(*names: str, payload: bytes = b"{}") -> list[Appendable]:
    return [appendable(event(name, payload=payload)) for name in names]


async def store(pool: Pool, items: Iterable[Appendable], *, rows_max: int = 100, bytes_max: int = PLENTY) -> list[bool]:
    async with pool.connection() as connection:
        return await inbox.store(connection, list(items), rows_max=rows_max, bytes_max=bytes_max)


async def state(pool: Pool) -> InboxState:
    async with pool.connection() as connection:
        return await inbox.state(connection)


async def names(pool: Pool, *, count: int = 1000, bytes_max: int = PLENTY) -> list[str]:
    async with pool.connection() as connection:
        rows = await inbox.oldest(connection, count=count, bytes_max=bytes_max)
    return [row.item.provider_event_id for row in rows]


async def test_what_is_stored_is_there_as_it_was(pool: Pool) -> None:
    items = named("a", "b", payload=b'{"\x00": "\xff"}')
    assert await store(pool, items) == [True, True]
    async with pool.connection() as connection:
        assert [row.item for row in await inbox.oldest(connection, count=10, bytes_max=PLENTY)] == items
    found = await state(pool)
    size = sum(len(item.meta) + len(item.payload) for item in items)
    assert (found.rows, found.bytes, found.stored_total, found.moved_total, found.counted_rows) == (2, size, 2, 0, 2)
    assert found.oldest_seconds is not None
    assert 0 <= found.oldest_seconds < 60
    assert found.missing == 0


async def test_an_event_that_is_there_is_not_stored_again(pool: Pool) -> None:
    """Whether the answer was lost and the gate repeats itself, or the provider does: one row."""
    first = named("a", "b")
    assert await store(pool, [first[0], first[1], first[0]]) == [True, True, False]
    assert await store(pool, [*first, *named("a", "c", "c")]) == [False, False, False, True, False]
    assert await names(pool) == ["a", "b", "c"]
    assert (await state(pool)).stored_total == 3


async def test_events_of_one_call_keep_the_order_in_which_they_arrived(pool: Pool) -> None:
    """The enrollment comes before its first action, whatever their ids are."""
    await store(pool, named("z", "m", "a", "q"))
    await store(pool, named("b"))
    assert await names(pool) == ["z", "m", "a", "q", "b"]


async def test_a_full_inbox_takes_all_of_a_call_or_nothing(pool: Pool) -> None:
    await store(pool, named("a", "b"), rows_max=3)
    with pytest.raises(InboxFullError):
        await store(pool, named("c", "d"), rows_max=3)
    assert await names(pool) == ["a", "b"]
    assert await store(pool, named("a", "c", "b"), rows_max=3) == [False, True, False], "two of them need no room"
    with pytest.raises(InboxFullError):
        await store(pool, named("d"), rows_max=3)
    found = await state(pool)
    assert (found.rows, found.stored_total, found.missing) == (3, 3, 0)


async def test_a_full_inbox_costs_postgres_no_more_than_a_look(rig: Rig) -> None:
    """For as long as Redis is away every request comes by here; rows inserted and taken back would have to be vacuumed."""
    numbered = "SELECT last_value FROM inbox_id_seq"
    await store(rig.pool, named("a"))
    before = await rig.rows(numbered)
    with pytest.raises(InboxFullError):
        await store(rig.pool, named("b"), rows_max=1)
    with pytest.raises(InboxFullError):
        await store(rig.pool, named("b"), bytes_max=1)
    assert await rig.rows(numbered) == before


async def test_the_bound_in_bytes_is_exact(pool: Pool) -> None:
    items = named("a", "b", payload=b"x" * 1000)
    size = sum(len(item.meta) + len(item.payload) for item in items)
    with pytest.raises(InboxFullError):
        await store(pool, items, bytes_max=size - 1)
    assert await store(pool, items, bytes_max=size) == [True, True]
    with pytest.raises(InboxFullError):
        await store(pool, named("c"), bytes_max=size)
    assert (await state(pool)).bytes == size


async def test_many_gates_at_once_fill_it_to_the_bound_and_not_beyond(postgres_url: str) -> None:
    async with postgres.pool(postgres_url, PostgresSettings(), "test", max_size=20) as pool:
        calls = [store(pool, named(*(f"{n}-{m}" for m in range(3))), rows_max=31) for n in range(20)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        stored = [answer for answer in done if answer == [True, True, True]]
        refused = [answer for answer in done if isinstance(answer, InboxFullError)]
        assert (len(stored), len(refused)) == (10, 10)
        found = await state(pool)
        assert (found.rows, found.counted_rows, found.stored_total, found.missing) == (30, 30, 30, 0)


async def test_gates_that_store_the_same_events_at_once_store_each_once(pool: Pool) -> None:
    """In whatever order each has them: they wait for each other instead of deadlocking."""
    async with pool.connection() as third:
        await third.execute("INSERT INTO inbox (source, provider_event_id, meta, payload) VALUES ('shop', 'm', '', '')")
        gates = [asyncio.create_task(store(pool, named(*order))) for order in ("bma", "amb")]
        await until(lambda: waits(pool, 2))  # each has all that it inserts before `m`
        await third.rollback()
    answers = await asyncio.gather(*gates)
    assert sum(map(sum, answers)) == 3
    assert sorted(await names(pool)) == ["a", "b", "m"]
    found = await state(pool)
    assert (found.rows, found.missing) == (3, 0)


async def test_storing_waits_for_a_mover_that_takes_the_same_event_away(pool: Pool) -> None:
    """Else the gate would say that it is there, when it is not any more: what the mover has not committed may come back."""
    await store(pool, named("a"))
    async with pool.connection() as mover:
        (row,) = await inbox.oldest(mover, count=1, bytes_max=PLENTY)
        assert await inbox.remove(mover, [row.id]) == 1
        storing = asyncio.create_task(store(pool, named("a")))
        await until(lambda: waits(pool))
    assert await storing == [True]
    found = await state(pool)
    assert (found.rows, found.stored_total, found.moved_total, found.missing) == (1, 2, 1, 0)


async def waits(pool: Pool, count: int = 1) -> bool:
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        row = await cursor.fetchone()
    return row is not None and row[0] >= count


async def test_what_is_removed_makes_room(pool: Pool) -> None:
    await store(pool, named("a", "b", "c"), rows_max=3)
    async with pool.connection() as connection:
        assert not await inbox.is_empty(connection)
        rows = await inbox.oldest(connection, count=2, bytes_max=PLENTY)
        assert await inbox.remove(connection, [row.id for row in rows]) == 2
    async with pool.connection() as connection:
        assert await inbox.remove(connection, [row.id for row in rows]) == 0, "another mover was there before"
    assert await store(pool, named("d", "e"), rows_max=3) == [True, True]
    assert await names(pool) == ["c", "d", "e"]
    async with pool.connection() as connection:
        rows = await inbox.oldest(connection, count=10, bytes_max=PLENTY)
        await inbox.remove(connection, [row.id for row in rows])
        assert await inbox.is_empty(connection)
    assert await state(pool) == InboxState(0, 0, 5, 5, 0, None)


async def test_a_mover_takes_no_more_than_it_can_hold_but_always_something(pool: Pool) -> None:
    await store(pool, named("a", "b", "c", payload=b"x" * 1000))
    assert await names(pool, bytes_max=1) == ["a"]
    assert await names(pool, bytes_max=1300) == ["a", "b"]
    assert await names(pool, count=1) == ["a"]


async def test_one_mover_at_a_time(pool: Pool) -> None:
    async with pool.connection() as first, pool.connection() as second:
        assert await inbox.take_turn(first)
        assert not await inbox.take_turn(second)
        await second.rollback()
        await first.commit()
        assert await inbox.take_turn(second)


async def test_a_gate_that_is_stopped_in_the_middle_does_not_hold_the_others_up_for_long(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the meter: until Postgres ends its transaction nobody else can store anything."""
    monkeypatch.setattr(inbox, "STORE_IDLE_MS", 200)
    entered, wake = asyncio.Event(), asyncio.Event()
    real: Any = Connection.execute

    async def stopped(connection: Connection, query: object, *args: Any, **options: Any) -> Any:
        answer = await real(connection, query, *args, **options)
        if query == inbox._ADD and not entered.is_set():
            entered.set()
            await wake.wait()
        return answer

    monkeypatch.setattr(Connection, "execute", stopped)
    sleeper = asyncio.create_task(store(pool, named("a")))
    await entered.wait()
    monkeypatch.setattr(inbox, "STORE_IDLE_MS", 60_000)
    assert await store(pool, named("b")) == [True]
    wake.set()
    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        await sleeper
    assert await names(pool) == ["b"]
    assert (await state(pool)).missing == 0


async def test_a_meter_that_another_hand_deleted_is_named_and_init_brings_it_back(rig: Rig) -> None:
    await rig.rows_none("DELETE FROM inbox_meter")
    with pytest.raises(UsageError, match="tidegate init"):
        await store(rig.pool, named("a"))
    async with rig.pool.connection() as connection:
        await schema.apply(connection)
    assert await store(rig.pool, named("a")) == [True]
    async with rig.pool.connection() as connection:
        await inbox.remove(connection, [row.id for row in await inbox.oldest(connection, count=1, bytes_max=1)])


async def test_the_audit_notices_a_row_that_another_hand_deleted_or_inserted(rig: Rig) -> None:
    await store(rig.pool, named("a", "b"))
    found = await rig.audit()
    assert (found.unaccounted, found.stored.inbox.counted_rows) == (0, 2)
    await rig.rows_none("DELETE FROM inbox WHERE provider_event_id = 'a'")
    found = await rig.audit()
    assert (found.unaccounted, found.missing_inbox, found.as_dict()["missing_inbox"]) == (1, 1, 1)
    await rig.rows_none(
        "INSERT INTO inbox (source, provider_event_id, meta, payload) VALUES ('s', 'x', '', ''), ('s', 'y', '', '')"
    )
    found = await rig.audit()
    assert (found.unaccounted, found.missing_inbox) == (1, -1)
    await rig.rows_none("DELETE FROM inbox WHERE provider_event_id = 'x'")


async def test_a_database_of_version_1_is_upgraded_and_refused_until_it_is(rig: Rig) -> None:
    await rig.rows_none("DROP TABLE inbox, inbox_meter, redis_epochs")
    await rig.rows_none("UPDATE tidegate_schema SET version = 1")
    async with rig.pool.connection() as connection:
        with pytest.raises(UsageError, match=r"schema version 1, this Tidegate needs 2: run `tidegate init`"):
            await schema.check(connection)
        for _ in range(2):
            await schema.apply(connection)
        await schema.check(connection)
    assert await store(rig.pool, named("a")) == [True]
    assert (await rig.audit()).stored.inbox.rows == 1
