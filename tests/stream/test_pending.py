"""What workers hold on a real Redis: read, taken over, renewed, given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from redis.exceptions import ResponseError

from tests.fixtures import appendable, event
from tests.stream.steps import PLENTY, deliveries, read, send
from tidegate.stream import GROUP, NOBODY, Client, Settlement, Stream, Stuck, is_nogroup

KIB = b"x" * 1024


async def test_retire_keeps_a_consumer_with_pending_entries(stream: Stream, client: Client) -> None:
    """Pitfall 10: XGROUP DELCONSUMER would drop what is pending for it."""
    await stream.append(0, [appendable(event())])
    (entry_id,) = await read(stream, client, "w1")
    assert await stream.retire(0, "w1") is False
    await stream.settle(0, [Settlement(entry_id, "applied", "shop")])
    assert await stream.retire(0, "w1") is True
    assert await stream.consumers(0) == []


async def test_a_beat_renews_only_what_is_still_ours_and_does_not_count_as_delivery(
    stream: Stream, client: Client
) -> None:
    """Pitfall 13: the delivery count is evidence, and beats must not forge it."""
    await stream.append(0, [appendable(event("a")), appendable(event("b"))])
    a, b = await read(stream, client, "w1")
    await stream.claim(0, "w2", [Stuck(b, "w1", 0, 1)], idle_ms=0, bytes_max=PLENTY)
    assert await stream.beat(0, "w1", [a, b]) == [b]
    by_id = {item.entry_id: item for item in await stream.stuck(0, idle_ms=0, count=10)}
    assert (by_id[a].consumer, by_id[a].deliveries) == ("w1", 1)
    assert (by_id[b].consumer, by_id[b].deliveries) == ("w2", 2)


async def test_stuck_pages_with_an_exclusive_cursor(stream: Stream, client: Client) -> None:
    """Pitfall 12: claiming from the start with a small count starves later ids."""
    await stream.append(0, [appendable(event(str(n))) for n in range(5)])
    ids = await read(stream, client)
    seen: list[bytes] = []
    after = b"-"
    while page := await stream.stuck(0, idle_ms=0, count=2, after=after):
        seen += [item.entry_id for item in page]
        after = page[-1].entry_id
    assert seen == ids


async def test_handed_back_entries_are_claimable_at_once(stream: Stream, client: Client) -> None:
    await stream.append(0, [appendable(event())])
    ids = await read(stream, client, "w1")
    assert await stream.hand_back(0, "w1", ids, idle_ms=60_001) == 1
    assert await stream.hand_back(0, "w1", ids, idle_ms=60_001) == 0
    handed = await stream.stuck(0, idle_ms=60_000, count=10)
    claimed = await stream.claim(0, "w2", handed, idle_ms=60_000, bytes_max=PLENTY)
    assert [entry.entry_id for entry in claimed.entries] == ids
    assert await stream.retire(0, "w1") is True


async def test_the_group_reads_what_was_there_before_it(stream: Stream, client: Client) -> None:
    """Pitfall 4: a group created at `$` skips the backlog."""
    await stream.append(0, [appendable(event())])
    assert len(await read(stream, client)) == 1


async def stuck(stream: Stream) -> list[Stuck]:
    return await stream.stuck(0, idle_ms=0, count=1000)


async def test_what_a_lost_answer_delivered_is_found_again_all_of_it(stream: Stream, client: Client) -> None:
    """Pitfall 3, and 13: looking at it is no delivery."""
    ids = await send(stream, client, *"abcde")
    await stream.append(0, [appendable(event("f"))])
    assert len(await read(stream, client, "w2")) == 1
    found: list[bytes] = []
    cursor: bytes | None = b""
    pages = 0
    while cursor is not None:
        owned = await stream.own(client, 0, "w1", after=cursor, count=2, bytes_max=PLENTY)
        assert len(owned.entries) <= 2
        assert [entry.deliveries for entry in owned.entries] == [1] * len(owned.entries)
        found += [entry.entry_id for entry in owned.entries]
        cursor = owned.cursor
        pages += 1
    assert (found, pages) == (ids, 3)
    assert set((await deliveries(client, stream)).values()) == {("w1", 1), ("w2", 1)}


async def test_own_says_how_often_an_entry_was_delivered(stream: Stream, client: Client) -> None:
    await send(stream, client, "a")
    for consumer in ("w2", "w3"):
        await stream.claim(0, consumer, await stuck(stream), idle_ms=0, bytes_max=PLENTY)
    (entry,) = (await stream.own(client, 0, "w3", count=10, bytes_max=PLENTY)).entries
    assert entry.deliveries == 3


async def test_own_takes_no_more_once_the_bytes_are_reached(stream: Stream, client: Client) -> None:
    ids = await send(stream, client, *"abcde", payload=KIB)
    owned = await stream.own(client, 0, "w1", count=10, bytes_max=2048)
    assert ([entry.entry_id for entry in owned.entries], owned.cursor) == (ids[:2], ids[1])


async def test_a_fetch_is_bounded_by_count(stream: Stream, client: Client) -> None:
    await stream.ensure_group(0)
    await stream.append(0, [appendable(event(str(n))) for n in range(30)])
    sizes = [len(await stream.fetch(client, 0, "w1", count=13, bytes_max=PLENTY)) for _ in range(4)]
    assert sizes == [13, 13, 4, 0]


async def test_a_fetch_of_large_payloads_stays_within_its_bytes(stream: Stream, client: Client) -> None:
    """Five hundred payloads of 1 MiB would be the end of a worker."""
    await stream.ensure_group(0)
    await stream.append(0, [appendable(event(str(n), payload=KIB * 64)) for n in range(20)])
    entries = await stream.fetch(client, 0, "w1", count=500, bytes_max=4 * 64 * 1024)
    assert len(entries) == 4
    assert len(await stream.fetch(client, 0, "w1", count=500, bytes_max=1)) == 1


async def test_a_fetch_goes_little_beyond_its_bytes_when_large_follows_small(stream: Stream, client: Client) -> None:
    await stream.ensure_group(0)
    await stream.append(0, [appendable(event(f"s{n}", payload=b"{}")) for n in range(50)])
    await stream.append(0, [appendable(event(f"l{n}", payload=KIB * 64)) for n in range(50)])
    entries = await stream.fetch(client, 0, "w1", count=500, bytes_max=64 * 1024)
    assert sum(len(entry.fields[9]) > 2 for entry in entries) <= 8
    assert len(await deliveries(client, stream)) == len(entries)


async def test_a_fetched_entry_is_as_it_was_sent(stream: Stream, client: Client) -> None:
    await stream.ensure_group(1)
    sent = appendable(event("a", payload=bytes(range(256))))
    await stream.append(1, [sent])
    (entry,) = await stream.fetch(client, 1, "w1", count=10, bytes_max=PLENTY)
    assert entry.shard == 1
    assert entry.fields == [b"v", b"1", b"source", b"shop", b"id", b"a", b"meta", sent.meta, b"payload", sent.payload]
    assert entry.bytes_count == sum(len(part) for part in entry.fields)


async def test_a_claim_takes_no_more_once_the_bytes_are_reached(stream: Stream, client: Client) -> None:
    ids = await send(stream, client, *"abcde", payload=KIB)
    claimed = await stream.claim(0, "w2", await stuck(stream), idle_ms=0, bytes_max=2048)
    assert [(entry.entry_id, entry.deliveries) for entry in claimed.entries] == [(ids[0], 2), (ids[1], 2)]
    left = [item for item in await stuck(stream) if item.consumer == "w1"]
    assert len((await stream.claim(0, "w2", left, idle_ms=0, bytes_max=1)).entries) == 1
    held = await deliveries(client, stream)
    assert [held[entry_id] for entry_id in ids] == [("w2", 2)] * 3 + [("w1", 1)] * 2


async def test_a_claim_leaves_what_its_owner_renewed_or_settled_meanwhile(stream: Stream, client: Client) -> None:
    """The sweeper looked, then the owner woke: an entry in work must not be doubled, a settled one not be revived."""
    a, b = await send(stream, client, "a", "b")
    seen = await stuck(stream)
    await stream.hand_back(0, "w1", [a, b], idle_ms=60_000)
    await stream.claim(0, "w1", await stuck(stream), idle_ms=60_000, bytes_max=PLENTY)
    await stream.settle(0, [Settlement(b, "applied", "shop")])
    assert await stream.claim(0, "w2", seen, idle_ms=30_000, bytes_max=PLENTY) == ([], 0)
    assert await deliveries(client, stream) == {a: ("w1", 1)}


async def test_an_entry_handed_back_in_ten_deploys_is_no_suspect(stream: Stream, client: Client) -> None:
    """Pitfall 13: the delivery count is evidence of crashes; to be handed back is none."""
    ids = await send(stream, client, "a")
    for deploy in range(10):
        consumer = f"w{deploy + 1}"
        assert await stream.hand_back(0, consumer, ids, idle_ms=60_000) == 1
        assert await deliveries(client, stream) == {ids[0]: (NOBODY, 0)}
        claimed = await stream.claim(0, f"w{deploy + 2}", await stuck(stream), idle_ms=60_000, bytes_max=PLENTY)
        assert [entry.deliveries for entry in claimed.entries] == [1]
    assert await deliveries(client, stream) == {ids[0]: ("w11", 1)}


async def test_what_waits_to_be_tried_alone_is_not_blamed_for_the_deaths_meanwhile(
    stream: Stream, client: Client
) -> None:
    a, b = await send(stream, client, "a", "b")
    for consumer in ("w2", "w3", "w4", "w5"):
        claimed = await stream.claim(0, consumer, await stuck(stream), idle_ms=0, bytes_max=PLENTY, deliveries_max=3)
    assert [entry.deliveries for entry in claimed.entries] == [3, 3]
    assert await stream.on_trial(0, "w4", a, deliveries=4) is False
    assert await stream.on_trial(0, "w5", a, deliveries=4) is True
    claimed = await stream.claim(0, "w6", await stuck(stream), idle_ms=0, bytes_max=PLENTY, deliveries_max=3)
    assert {entry.entry_id: entry.deliveries for entry in claimed.entries} == {a: 4, b: 3}
    assert await deliveries(client, stream) == {a: ("w6", 4), b: ("w6", 3)}


async def test_an_entry_named_twice_is_claimed_once(stream: Stream, client: Client) -> None:
    (entry_id,) = await send(stream, client, "a")
    seen = await stuck(stream)
    claimed = await stream.claim(0, "w2", [*seen, *seen], idle_ms=0, bytes_max=PLENTY)
    assert [entry.deliveries for entry in claimed.entries] == [2]
    assert await deliveries(client, stream) == {entry_id: ("w2", 2)}


CALLS: dict[str, Callable[[Stream], Awaitable[object]]] = {
    "read": lambda stream: stream.read(stream.client, "w1", count=1, block_ms=None),
    "fetch": lambda stream: stream.fetch(stream.client, 0, "w1", count=1, bytes_max=1),
    "own": lambda stream: stream.own(stream.client, 0, "w1", count=1, bytes_max=1),
    "stuck": lambda stream: stream.stuck(0, idle_ms=0, count=1),
    "claim": lambda stream: stream.claim(0, "w1", [Stuck(b"1-1", "w2", 1, 1)], idle_ms=0, bytes_max=1),
    "pending_of": lambda stream: stream.pending_of(0, "w1"),
    "on_trial": lambda stream: stream.on_trial(0, "w1", b"1-1", deliveries=4),
    "beat": lambda stream: stream.beat(0, "w1", [b"1-1"]),
    "hand_back": lambda stream: stream.hand_back(0, "w1", [b"1-1"], idle_ms=0),
    "retire": lambda stream: stream.retire(0, "w1"),
    "consumers": lambda stream: stream.consumers(0),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_lost_group_is_known_by_every_call_that_needs_it(stream: Stream, client: Client, name: str) -> None:
    """Pitfall 5: inside a script Redis words NOGROUP differently in each version; not healed, the worker stands still."""
    await send(stream, client, "a")
    await client.xgroup_destroy(stream.keys[0].events, GROUP)
    with pytest.raises(ResponseError) as raised:
        await CALLS[name](stream)
    assert is_nogroup(raised.value)


def test_another_error_is_no_lost_group() -> None:
    assert is_nogroup(ResponseError("NOGROUP No such key 'tg:{0}:events'"))
    assert is_nogroup(
        ResponseError("Error running script (call to f_0a): @user_script:8: @user_script: 8: -NOGROUP No such key")
    )
    assert not is_nogroup(ResponseError("WRONGTYPE Operation against a key 'NOGROUP x'"))
    assert not is_nogroup(ConnectionError("NOGROUP No such key"))
