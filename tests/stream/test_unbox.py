"""The way from the inbox to the stream: each row makes one entry at most, in order, whoever moves it and how often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError

from tests.fixtures import appendable, event
from tests.stream.steps import fields, unaccounted
from tidegate.embedded import RedisServer
from tidegate.stream import Client, Stream, connect
from tidegate.stream.stream import UNBOXED_SECONDS


async def order(client: Client, stream: Stream) -> list[str]:
    return [held[b"id"].decode() for held in await fields(client, stream.keys[0].events)]


async def test_rows_become_entries_in_their_order_and_are_counted_as_accepted(stream: Stream, client: Client) -> None:
    rows = [appendable(event(name)) for name in ("z", "a", "m")]
    assert await stream.unbox(0, rows) == [True, True, True]
    assert await order(client, stream) == ["z", "a", "m"]
    first = (await fields(client, stream.keys[0].events))[0]
    assert first == {b"v": b"1", b"source": b"shop", b"id": b"z", b"meta": rows[0].meta, b"payload": rows[0].payload}
    assert (await stream.audit(0)).ledger == {("accepted", "shop"): 3}
    assert await unaccounted(stream) == 0


async def test_a_row_moved_twice_is_one_entry_even_when_its_event_is_no_longer_seen(
    stream: Stream, client: Client
) -> None:
    """A mover that slept between append and delete. Two entries of one delivery would count `applied` twice for one row."""
    row = appendable(event("a"))
    assert await stream.unbox(0, [row, row]) == [True, False]
    await client.delete(*stream._seen(stream.keys[0]))
    assert await stream.unbox(0, [row]) == [False]
    assert (await stream.audit(0)).events == 1


async def test_an_event_that_redis_had_taken_after_all_is_not_appended_again(stream: Stream) -> None:
    """The gate's append was lost on the way back, so it went to the inbox as well, as another delivery."""
    sent = event("a")
    await stream.append(0, [appendable(sent)])
    row = appendable(event("a"))
    assert await stream.unbox(0, [row]) == [False]
    assert (await stream.audit(0)).events == 1
    assert await unaccounted(stream) == 0


async def test_what_was_unboxed_is_seen_by_the_gate(stream: Stream) -> None:
    await stream.unbox(0, [appendable(event("a"))])
    assert await stream.append(0, [appendable(event("a"))]) == [False]


async def test_a_full_backlog_does_not_hold_the_inbox_up(stream: Stream) -> None:
    """Those events were answered 202: refusing them is no choice any more."""
    await stream.append(0, [appendable(event("a"))], backlog_max=1)
    assert await stream.unbox(0, [appendable(event("b"))]) == [True]


@pytest.mark.parametrize("later", [-1, 1])
async def test_a_mover_whose_clock_differs_knows_what_another_appended(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    row = appendable(event("a"))
    await stream.unbox(0, [row])
    now = (await stream.audit(0)).now_ms / 1000
    monkeypatch.setattr(stream, "_seen", lambda keys: (keys.seen(7), keys.seen(8)))  # that window is over
    monkeypatch.setattr("tidegate.stream.stream.time.time", lambda: now + later * UNBOXED_SECONDS / 2)
    assert await stream.unbox(0, [row]) == [False]


async def test_a_row_is_remembered_longer_than_its_event_and_not_for_ever(client: Client, prefix: str) -> None:
    stream = Stream(client, prefix=prefix, shards=1, seen_seconds=2)
    await stream.unbox(0, [appendable(event("a"))])
    (key,) = [key async for key in client.scan_iter(match=f"{prefix}*unboxed*")]
    assert UNBOXED_SECONDS - 60 < await client.ttl(key) <= UNBOXED_SECONDS
    for seen in [key async for key in client.scan_iter(match=f"{prefix}*seen*")]:
        assert 0 < await client.ttl(seen) <= 2


async def test_a_full_redis_takes_nothing_of_a_call(own_redis: Callable[..., RedisServer]) -> None:
    client: Any = connect(own_redis(appendfsync="no").url, timeout_seconds=5)
    stream = Stream(client, prefix="full", shards=1)
    await client.config_set("maxmemory", "1")
    rows = [appendable(event(name)) for name in ("a", "b")]
    with pytest.raises(OutOfMemoryError):
        await stream.unbox(0, rows)
    await client.config_set("maxmemory", "0")
    assert await client.dbsize() == 0
    assert await stream.unbox(0, rows) == [True, True]
    await client.aclose()


async def test_an_epoch_has_one_name_until_redis_is_emptied(stream: Stream, client: Client) -> None:
    assert (await stream.audit(0)).epoch is None
    await stream.begin_epoch(0)
    first = await stream.audit(0)
    await stream.begin_epoch(0)
    again = await stream.audit(0)
    assert first.epoch is not None
    assert (again.epoch, again.epoch_ms) == (first.epoch, first.epoch_ms)
    assert 0 <= first.now_ms - first.epoch_ms < 60_000
    assert (await stream.audit(1)).epoch is None
    await client.delete(stream.keys[0].epoch)
    await stream.begin_epoch(0)
    assert (await stream.audit(0)).epoch not in (None, first.epoch)


async def test_an_epoch_that_another_hand_wrote_does_not_stop_the_audit(stream: Stream, client: Client) -> None:
    await client.set(stream.keys[0].epoch, b"\xff what")
    found = await stream.audit(0)
    assert (found.epoch is not None, found.epoch_ms) == (True, 0)
