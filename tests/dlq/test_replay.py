"""What a user would lose if replays were wrong: a letter stuck between two servers, an event applied twice, its history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from redis.exceptions import RedisError

from consumer.outcome import Outcome
from dlq import letters, replay
from dlq.letters import Filter
from tests.dlq.conftest import Bury, Mood
from tests.fixtures import Rig, event
from tidegate import Reject, Retry
from tidegate.embedded import RedisServer
from tidegate.event import Delivery
from tidegate.stream import Stream, connect


@pytest.fixture
async def effects(rig: Rig, mood: Mood) -> Any:
    """A table that counts how often each event took effect: the only thing a replay must never do twice."""
    await rig.rows_none("CREATE TABLE effects (name text PRIMARY KEY, times int NOT NULL)")
    decide = mood.handle

    async def handle(item: Any, tx: Any) -> None:
        await tx.execute(
            "INSERT INTO effects VALUES (%s, 1) ON CONFLICT (name) DO UPDATE SET times = effects.times + 1",
            [item.provider_event_id],
        )
        await decide(item, tx)

    rig.handlers.on("shop", "order.*")(handle)

    async def happened() -> dict[str, int]:
        return dict(await rig.rows("SELECT name, times FROM effects"))

    return happened


async def again(rig: Rig, *ids: UUID, stream: Stream | None = None, **options: Any) -> list[UUID]:
    async with rig.pool.connection() as connection:
        return await replay.replay(stream or rig.stream, connection, ids, **options)


async def states(rig: Rig) -> list[tuple[Any, ...]]:
    """Return name, status, replays and tries of each letter, and look at the ledger."""
    assert (await rig.audit()).unaccounted == 0
    return await rig.rows(
        "SELECT provider_event_id, status, replay_count, attempts FROM dead_letters ORDER BY provider_event_id"
    )


async def test_a_replayed_letter_is_resolved_in_the_transaction_that_applies_its_event(
    rig: Rig, bury: Bury, mood: Mood, effects: Any
) -> None:
    (letter,) = await bury(event("a"))
    assert await again(rig, letter) == [letter]
    assert await states(rig) == [("a", "replaying", 1, 1)]
    mood.error = None
    assert await rig.drain() == {Outcome.APPLIED: 1}
    assert await states(rig) == [("a", "resolved", 1, 1)]
    assert await effects() == {"a": 1}
    assert await rig.rows("SELECT resolved_at IS NOT NULL FROM dead_letters") == [(True,)]


async def test_a_letter_that_dies_again_is_open_again_with_all_its_history(rig: Rig, bury: Bury, mood: Mood) -> None:
    (letter,) = await bury(event("a"))
    (first,) = await rig.rows("SELECT created_at FROM dead_letters")
    await again(rig, letter)
    mood.error = Retry("still not")
    assert (await rig.drain())[Outcome.DEAD] == 1
    assert await states(rig) == [("a", "open", 1, 4)]
    (row,) = await rig.rows("SELECT id, reason, error, history, created_at FROM dead_letters")
    assert row[:3] == (letter, "exhausted", "still not")
    assert [past["reason"] for past in row[3]] == ["rejected", "asked", "asked", "exhausted"]
    assert row[4] > first[0]  # the newest death is at the top of the list
    mood.error = None
    assert await again(rig, letter) == [letter]
    await rig.drain()
    assert await states(rig) == [("a", "resolved", 2, 4)]


async def test_a_replay_goes_past_the_early_dedupe_and_changes_nothing_twice(
    rig: Rig, bury: Bury, mood: Mood, effects: Any
) -> None:
    """The provider sent the event again meanwhile, and that delivery was applied: the letter's is a duplicate."""
    (letter,) = await bury(event("a"))
    mood.error = None
    shard = rig.stream.shard_of("shop", "a")
    await rig.stream.client.delete(*rig.stream._seen(rig.stream.keys[shard]))
    await rig.send(event("a"))
    await rig.drain()
    await again(rig, letter)
    assert await rig.drain() == {Outcome.DUPLICATE: 1}
    assert await states(rig) == [("a", "resolved", 1, 1)]
    assert await effects() == {"a": 1}


async def test_dying_between_postgres_and_redis_is_taken_up_again_and_doubles_nothing(
    rig: Rig, bury: Bury, mood: Mood, effects: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await bury(event("a"), event("b"))
    with monkeypatch.context() as patch:
        patch.setattr(rig.stream, "replay", _dies)
        with pytest.raises(asyncio.CancelledError):
            await again(rig, *ids)
    assert await states(rig) == [("a", "replaying", 1, 1), ("b", "replaying", 1, 1)]
    assert await rig.drain() == {}
    # By id, or found by their status.
    assert await again(rig, ids[0]) == [ids[0]]
    async with rig.pool.connection() as connection:
        (page,) = [found async for found in replay.matching(connection, Filter(status="replaying"))]
    assert sorted(await again(rig, *page)) == sorted(ids)
    mood.error = None
    assert await rig.drain() == {Outcome.APPLIED: 2}
    assert await states(rig) == [("a", "resolved", 1, 1), ("b", "resolved", 1, 1)]
    assert await effects() == {"a": 1, "b": 1}


async def test_losing_the_answer_of_redis_and_repeating_doubles_nothing(
    rig: Rig, bury: Bury, mood: Mood, effects: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (letter,) = await bury(event("a"))
    send = rig.stream.replay

    async def deaf(*args: Any) -> list[bool]:
        await send(*args)
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(rig.stream, "replay", deaf)
        with pytest.raises(ConnectionResetError):
            await again(rig, letter)
    assert await again(rig, letter) == [letter]
    assert (await rig.audit()).balance.replayed == 1
    mood.error = None
    assert await rig.drain() == {Outcome.APPLIED: 1}
    assert await effects() == {"a": 1}
    assert await again(rig, letter) == []


async def test_two_people_replaying_the_same_letters_send_each_once(
    rig: Rig, bury: Bury, mood: Mood, effects: Any
) -> None:
    ids = await bury(*(event(f"e-{number}") for number in range(12)))
    await asyncio.gather(*(again(rig, *order) for order in (ids, ids[::-1], ids[6:] + ids[:6])))
    assert (await rig.audit()).balance.replayed == 12
    mood.error = None
    assert await rig.drain() == {Outcome.APPLIED: 12}
    assert set((await effects()).values()) == {1}


async def test_redis_away_in_the_middle_leaves_the_rest_to_be_replayed(
    rig: Rig, bury: Bury, own_redis: Callable[..., RedisServer], mood: Mood
) -> None:
    ids = await bury(*(event(f"e-{number}") for number in range(3)))
    redis = own_redis()
    client = connect(redis.url, timeout_seconds=1)
    redis.stop()
    with pytest.raises((RedisError, OSError)):
        await again(rig, *ids, stream=Stream(client, prefix="t", shards=1, repeat_seconds=0.1))
    await client.aclose()
    assert {state[1] for state in await states(rig)} == {"replaying"}
    assert sorted(await again(rig, *ids)) == sorted(ids)
    mood.error = None
    await rig.drain()
    assert {state[1] for state in await states(rig)} == {"resolved"}


async def test_progress_counts_every_id_and_the_rate_is_kept(rig: Rig, bury: Bury) -> None:
    ids = await bury(*(event(f"e-{number}") for number in range(4)))
    told: list[int] = []
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert len(await again(rig, *ids, *ids[:1], rate=2, done=told.append)) == 4
    assert loop.time() - began >= 0.9  # two at once, then two a second
    assert sum(told) == 5
    await rig.drain()


async def test_resolved_and_discarded_letters_stay(rig: Rig, bury: Bury, mood: Mood) -> None:
    a, b = await bury(event("a"), event("b"))
    async with rig.pool.connection() as connection:
        await letters.discard(connection, [a])
    await again(rig, b)
    mood.error = None
    await rig.drain()
    assert await again(rig, a, b) == []
    assert await states(rig) == [("a", "discarded", 0, 1), ("b", "resolved", 1, 1)]


async def test_what_the_gate_could_not_read_dies_again_and_is_not_lost(rig: Rig, bury: Bury, mood: Mood) -> None:
    raw = b"\xff not JSON"
    (letter,) = await bury(Delivery(event("a", payload=raw), malformed="not UTF-8 at byte 0"))
    mood.error = None
    await again(rig, letter)
    assert await rig.drain() == {Outcome.DEAD: 1}
    assert await states(rig) == [("a", "open", 1, 2)]
    assert await rig.rows("SELECT payload, reason FROM dead_letters") == [(raw, "malformed")]


async def test_a_letter_dies_and_comes_back_many_times_and_the_ledger_stays_even(
    rig: Rig, bury: Bury, mood: Mood
) -> None:
    ids = await bury(event("a"), event("b"), event("c"))
    for turn in range(1, 6):
        mood.error = Reject(f"turn {turn}")
        await again(rig, *ids[: 1 + turn % 3])
        assert (await rig.audit()).unaccounted == 0
        await rig.drain()
        assert (await rig.audit()).unaccounted == 0
    assert sum(state[2] for state in await states(rig)) == sum(1 + turn % 3 for turn in range(1, 6))


async def _dies(*_args: Any) -> Any:
    raise asyncio.CancelledError
