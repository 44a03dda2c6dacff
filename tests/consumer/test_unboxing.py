"""The inbox on its way to the streams: killed, asleep, doubled or cut off, its mover neither loses nor doubles an event."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY
from redis.exceptions import ConnectionError

from consumer import unboxing
from consumer.unboxing import Unboxer
from tests.consumer.fleet import REPOSITORY, Fleet
from tests.consumer.scene import A, D, DiedError, X, happened
from tests.fixtures import Rig, appendable, event, until
from tidegate import inbox, postgres
from tidegate.embedded import RedisServer
from tidegate.event import Event
from tidegate.postgres import Pool
from tidegate.settings import PostgresSettings
from tidegate.stream import Appendable, Client, Stream, connect


async def box(rig: Rig, *items: Event | Appendable) -> None:
    """Store each as a gate does while Redis is away."""
    rows = [item if isinstance(item, Appendable) else appendable(item) for item in items]
    async with rig.pool.connection() as connection:
        await inbox.store(connection, rows, rows_max=100_000, bytes_max=1 << 30)


async def boxed(pool: Pool) -> int:
    async with pool.connection() as connection:
        return (await inbox.state(connection)).counted_rows


async def on_stream(rig: Rig, shard: int) -> list[str]:
    client: Any = rig.stream.client
    return [held[b"id"].decode() for _, held in await client.xrange(rig.stream.keys[shard].events)]


async def move_all(rig: Rig) -> int:
    mover = Unboxer(rig.stream, rig.pool)
    total = await mover.unbox()
    while mover.more:
        total += await mover.unbox()
    return total


def by_shard(rig: Rig, names: Sequence[str], shard: int) -> list[str]:
    return [name for name in names if rig.stream.shard_of("shop", name) == shard]


async def test_rows_reach_their_shards_in_the_order_of_the_inbox(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unboxing, "ROWS_MAX", 7)
    names = [f"e{n * 37 % 50:02d}" for n in range(50)]
    for at in range(0, 50, 10):
        await box(rig, *(event(name) for name in names[at : at + 10]))
    assert await move_all(rig) == 50
    for shard in (0, 1):
        assert await on_stream(rig, shard) == by_shard(rig, names, shard)
    assert await boxed(rig.pool) == 0
    await rig.drain()
    assert await rig.rows("SELECT count(*) FROM events") == [(50,)]


async def test_a_batch_is_bounded_by_bytes_and_large_events_go_alone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unboxing, "BYTES_MAX", 1000)
    await box(rig, *(event(name, payload=b'"' + b"x" * 2000 + b'"') for name in "abc"))
    mover = Unboxer(rig.stream, rig.pool)
    assert [await mover.unbox() for _ in range(4)] == [1, 1, 1, 0]
    assert not mover.more


def dies_after(patch: pytest.MonkeyPatch, owner: Any, name: str, *, call: int = 1) -> None:
    """Let the ``call``-th call of ``owner.name`` be the last thing that happens."""
    real = getattr(owner, name)
    calls = 0

    async def last(*args: Any, **options: Any) -> Any:
        nonlocal calls
        answer = await real(*args, **options)
        calls += 1
        if calls == call:
            raise DiedError
        return answer

    patch.setattr(owner, name, last)


LINES = ["turn", "read", "first append", "second append", "delete", "commit"]


@pytest.mark.parametrize("line", LINES)
async def test_a_mover_that_dies_after_any_line_loses_and_doubles_nothing(
    rig: Rig, effects: Any, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    rig.handlers.on("shop")(effects)
    names = [f"e{n}" for n in range(20)]
    await box(rig, *(event(name) for name in names))

    def died(_self: Unboxer, _moved: int) -> None:
        raise DiedError

    with monkeypatch.context() as patch:
        match line:
            case "turn":
                dies_after(patch, inbox, "take_turn")
            case "read":
                dies_after(patch, inbox, "oldest")
            case "first append":
                dies_after(patch, rig.stream, "unbox")
            case "second append":
                dies_after(patch, rig.stream, "unbox", call=2)
            case "delete":
                dies_after(patch, inbox, "remove")
            case "commit":
                patch.setattr(Unboxer, "_report", died)
        with pytest.raises(DiedError):
            await Unboxer(rig.stream, rig.pool).unbox()
    assert (await rig.audit()).unaccounted == 0, "nor must it look so in between"
    client: Any = rig.stream.client
    for keys in rig.stream.keys:  # as if the gate's memory, which may be short, had expired meanwhile
        await client.delete(*rig.stream._seen(keys))
    assert await move_all(rig) == (0 if line == "commit" else 20)
    for shard in (0, 1):
        assert await on_stream(rig, shard) == by_shard(rig, names, shard)
    await rig.drain()
    assert await happened(rig) == dict.fromkeys(names, 1)
    assert (await rig.audit()).balance.applied == 20


async def test_a_mover_that_sleeps_until_another_moved_its_rows_appends_nothing(
    rig: Rig, effects: Any, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction was ended, and so its turn; it wakes with the rows in hand, after they were applied."""
    rig.handlers.on("shop")(effects)
    await box(rig, *(event(f"e{n}") for n in range(10)))
    asleep, wake = asyncio.Event(), asyncio.Event()
    real = Unboxer._append

    async def sleeps(self: Unboxer, rows: Any) -> None:
        if not asleep.is_set():
            asleep.set()
            await wake.wait()
        await real(self, rows)

    monkeypatch.setattr(Unboxer, "_append", sleeps)
    async with postgres.pool(postgres_url, PostgresSettings(), "zombie") as pool:
        zombie = asyncio.create_task(Unboxer(rig.stream, pool).unbox())
        await asleep.wait()
        assert await move_all(rig) == 0, "it is not our turn"
        await rig.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'zombie'")
        await until(lambda: moved(rig, 10))
        await rig.drain()
        client: Any = rig.stream.client
        for keys in rig.stream.keys:
            await client.delete(*rig.stream._seen(keys))
        wake.set()
        assert await zombie == 0
    assert [await on_stream(rig, shard) for shard in (0, 1)] == [[], []]
    assert set((await happened(rig)).values()) == {1}
    assert (await rig.audit()).balance.applied == 10


async def moved(rig: Rig, count: int) -> bool:
    await move_all(rig)
    async with rig.pool.connection() as connection:
        return (await inbox.state(connection)).moved_total == count


async def test_an_append_whose_answer_is_lost_leaves_the_row_and_appends_it_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await box(rig, event("a"))
    real = rig.stream.unbox

    async def lost(*args: Any) -> list[bool]:
        await real(*args)
        raise ConnectionError("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(rig.stream, "unbox", lost)
        with pytest.raises(ConnectionError):
            await Unboxer(rig.stream, rig.pool).unbox()
    assert await boxed(rig.pool) == 1
    assert await move_all(rig) == 1
    await rig.drain()
    assert (await rig.audit()).balance.accepted == 1


async def test_a_commit_whose_answer_is_lost_is_found_done(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await box(rig, event("a"))
    real = psycopg.AsyncConnection.commit

    async def lost(self: Any) -> None:
        await real(self)
        raise psycopg.OperationalError("the answer was lost")

    mover = Unboxer(rig.stream, rig.pool)
    with monkeypatch.context() as patch:
        patch.setattr(psycopg.AsyncConnection, "commit", lost)
        assert await mover.unbox() == 0
    assert await boxed(rig.pool) == 0
    assert await mover.unbox() == 0
    assert (await rig.audit()).balance.waiting == 1


async def test_many_movers_at_once_move_each_row_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unboxing, "ROWS_MAX", 5)
    names = [f"e{n:02d}" for n in range(60)]
    await box(rig, *(event(name) for name in names))

    async def moves() -> int:
        mover, total = Unboxer(rig.stream, rig.pool), 0
        while await boxed(rig.pool):
            total += await mover.unbox()
        return total

    assert sum(await asyncio.gather(*(moves() for _ in range(4)))) == 60
    for shard in (0, 1):
        assert await on_stream(rig, shard) == by_shard(rig, names, shard)


async def test_gates_that_go_on_storing_while_rows_are_moved_lose_nothing(
    rig: Rig, effects: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two gates get the same events, as when a provider repeats itself; all the while two movers empty the inbox."""
    rig.handlers.on("shop")(effects)
    monkeypatch.setattr(unboxing, "ROWS_MAX", 3)
    names = [f"e{n:02d}" for n in range(40)]
    storing = True

    async def gate(order: Sequence[str]) -> None:
        for at in range(0, len(order), 5):
            await box(rig, *(event(name) for name in order[at : at + 5]))

    async def moves() -> None:
        mover = Unboxer(rig.stream, rig.pool)
        while storing or await boxed(rig.pool):
            await mover.unbox()

    movers = [asyncio.create_task(moves()) for _ in range(2)]
    await asyncio.gather(gate(names), gate(names[::-1]))
    storing = False
    await asyncio.gather(*movers)
    await rig.drain()
    assert await happened(rig) == dict.fromkeys(names, 1)


async def test_an_event_that_came_through_redis_and_the_inbox_takes_effect_once(rig: Rig, effects: Any) -> None:
    rig.handlers.on("shop")(effects)
    await rig.send(event("a"), event("b"))
    await box(rig, event("a"), event("b"))
    client: Any = rig.stream.client
    await client.delete(*rig.stream._seen(rig.stream.keys[rig.stream.shard_of("shop", "b")]))
    forgotten = {rig.stream.shard_of("shop", name) for name in "b"}
    expected = sum(rig.stream.shard_of("shop", name) in forgotten for name in "ab")
    assert await move_all(rig) == 2
    assert await rig.drain() == {A: 2, D: expected}
    assert await happened(rig) == {"a": 1, "b": 1}


async def test_a_row_that_nobody_can_read_becomes_a_letter_and_holds_nothing_up(rig: Rig, effects: Any) -> None:
    """Of a later version, or broken by another hand."""
    rig.handlers.on("shop")(effects)
    await box(rig, Appendable("shop", "bad", b"\xff not ours", b"{}"), event("a"))
    assert await move_all(rig) == 2
    assert await rig.drain() == {A: 1, X: 1}
    assert await rig.rows("SELECT reason FROM dead_letters") == [("malformed",)]
    assert await happened(rig) == {"a": 1}


async def test_a_redis_that_is_away_or_full_leaves_the_rows_where_they_are(
    own_redis: Callable[..., RedisServer], rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    server = own_redis(appendfsync="no")
    client: Any = connect(server.url, timeout_seconds=1)
    stream = Stream(client, prefix="own", shards=2, repeat_seconds=0.1)
    mover = Unboxer(stream, rig.pool)
    await box(rig, event("a"), event("b"))
    await client.config_set("maxmemory", "1")
    for _ in range(3):
        with pytest.raises(Exception, match="maxmemory"):
            await mover.unbox()
    assert said(caplog, "Redis does not take the inbox") == 1, "once is enough"
    server.kill()
    with pytest.raises(ConnectionError):
        await mover.unbox()
    assert await boxed(rig.pool) == 2
    assert (await rig.audit()).stored.inbox.moved_total == 0
    server.start()
    assert await mover.unbox() == 2
    assert await mover.unbox() == 0
    assert said(caplog, "what waited in the inbox is on the streams") == 1
    await client.aclose()


def said(caplog: pytest.LogCaptureFixture, what: str) -> int:
    return sum(what in str(record.msg) for record in caplog.records)


async def test_a_postgres_that_refuses_the_table_is_named_once_and_ends_nothing(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    mover = Unboxer(rig.stream, rig.pool)
    await rig.rows_none("ALTER TABLE inbox_meter RENAME TO elsewhere")
    assert [await mover.unbox() for _ in range(3)] == [0, 0, 0]
    assert said(caplog, "Postgres refuses us the inbox") == 1
    await rig.rows_none("ALTER TABLE elsewhere RENAME TO inbox_meter")
    await box(rig, event("a"))
    assert await mover.unbox() == 1


async def test_the_inbox_is_measured(rig: Rig) -> None:
    await box(rig, event("a"), event("b"))
    upkeep = rig.upkeep(rig.worker())
    await upkeep.measure()
    moved_before = gauge("tidegate_inbox_moved_total")
    assert (gauge("tidegate_inbox_rows"), gauge("tidegate_inbox_bytes") > 300) == (2, True)
    assert gauge("tidegate_inbox_oldest_seconds") > 0
    await upkeep.unboxer.unbox()
    await upkeep.measure()
    assert [gauge(f"tidegate_inbox_{name}") for name in ("rows", "bytes", "oldest_seconds")] == [0, 0, 0]
    assert gauge("tidegate_inbox_moved_total") == moved_before + 2


def gauge(name: str) -> float:
    found = REGISTRY.get_sample_value(name)
    assert found is not None
    return found


@pytest.mark.process
async def test_workers_move_the_inbox_though_each_is_killed_on_the_way(
    tmp_path: Path,
    rig: Rig,
    client: Client,
    redis_url: str,
    postgres_url: str,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SIGKILL at whatever line it is on, again and again; somebody starts another, as a service manager would."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    names = [f"e{n:04d}" for n in range(3000)]
    for at in range(0, len(names), 1000):
        await box(rig, *(event(name, payload=b'"' + b"x" * 500 + b'"') for name in names[at : at + 1000]))
    toml = "[consumer]\nlease_seconds = 1\ndeliveries_max = 100\n"  # who is killed so often is no evidence
    kills = 0
    with Fleet(
        tmp_path, redis_url=redis_url, postgres_url=postgres_url, prefix=prefix, toml=toml, size=2, ready=False
    ) as fleet:
        for left in range(2500, 0, -800):

            async def so_far(left: int = left) -> bool:
                fleet.supervise()
                return await boxed(rig.pool) <= left

            await until(so_far, seconds=90)
            for worker in fleet.workers:
                if worker.alive:
                    worker.signal(signal.SIGKILL)
                    kills += 1

        async def done() -> bool:
            fleet.supervise()
            states = [await rig.stream.audit(shard) for shard in (0, 1)]
            return not await boxed(rig.pool) and not sum(state.events + state.retry for state in states)

        await until(done, seconds=90)
    assert kills >= 3
    assert await rig.rows("SELECT reason, count(*) FROM dead_letters GROUP BY 1") == []
    assert await rig.rows("SELECT count(*) FROM events") == [(3000,)]
    audit = await rig.audit()
    assert (audit.unaccounted, audit.balance.accepted, audit.balance.duplicate) == (0, 3000, 0)
