"""Another program deletes what is under way: the delivery still ends, and is counted; nothing sticks."""

from __future__ import annotations

from collections.abc import Callable

from tests.fixtures import appendable, event
from tests.stream.steps import PLENTY, deliveries, due, fields, park, read, reenter, send, unaccounted
from tidegate.embedded import RedisServer
from tidegate.ledger import shard_balance
from tidegate.stream import Client, Reentered, Settled, Settlement, Stream, connect
from tidegate.wire import decode


async def test_own_makes_a_marker_of_a_pending_entry_whose_content_is_gone(stream: Stream, client: Client) -> None:
    ids = await send(stream, client, *"abc")
    await client.xdel(stream.keys[0].events, ids[1])
    assert shard_balance(await stream.audit(0)).unaccounted == 1
    owned = await stream.own(client, 0, "w1", count=10, bytes_max=PLENTY)
    assert [entry.entry_id for entry in owned.entries] == [ids[0], ids[2]]
    assert (owned.cursor, owned.lost) == (None, 1)
    assert (await stream.own(client, 0, "w1", count=10, bytes_max=PLENTY)).lost == 0
    await marked(stream, client, ids[1], "events")


async def test_own_goes_on_where_everything_on_a_page_is_gone(stream: Stream, client: Client) -> None:
    ids = await send(stream, client, *"abc")
    await client.xdel(stream.keys[0].events, *ids[:2])
    owned = await stream.own(client, 0, "w1", count=2, bytes_max=PLENTY)
    assert (owned.entries, owned.cursor, owned.lost) == ([], ids[1], 2)
    owned = await stream.own(client, 0, "w1", after=ids[1], count=2, bytes_max=PLENTY)
    assert [entry.entry_id for entry in owned.entries] == ids[2:]


async def test_claim_makes_a_marker_of_a_stuck_entry_whose_content_is_gone(stream: Stream, client: Client) -> None:
    """XCLAIM would forget it (from Redis 7 on), or find nothing to claim for ever (6.2)."""
    ids = await send(stream, client, *"ab")
    await client.xdel(stream.keys[0].events, ids[0])
    stuck = await stream.stuck(0, idle_ms=0, count=10)
    claimed = await stream.claim(0, "w2", stuck, idle_ms=0, bytes_max=PLENTY)
    assert ([entry.entry_id for entry in claimed.entries], claimed.lost) == (ids[1:], 1)
    assert (await stream.claim(0, "w2", stuck, idle_ms=60_000, bytes_max=PLENTY)) == ([], 0)
    await marked(stream, client, ids[0], "events")


async def test_a_claim_makes_no_marker_of_what_its_owner_settled_or_still_holds(stream: Stream, client: Client) -> None:
    """An owner that settled it deleted it as well: that is no loss, and a letter would be a second end."""
    settled, held = await send(stream, client, *"ab")
    stuck = await stream.stuck(0, idle_ms=0, count=10)
    await stream.settle(0, [Settlement(settled, "applied", "shop")])
    await client.xdel(stream.keys[0].events, held)
    assert await stream.claim(0, "w2", stuck, idle_ms=60_000, bytes_max=PLENTY) == ([], 0)
    assert await deliveries(client, stream) == {held: ("w1", 1)}


async def test_a_due_retry_whose_entry_is_gone_becomes_a_marker(stream: Stream, client: Client) -> None:
    await park(stream, client, *"ab")
    (gone, _) = await due(client, stream)
    await client.xdel(stream.keys[0].retry, gone)
    assert await reenter(stream) == Reentered(1, None, 1, False)
    assert await reenter(stream) == Reentered(0, None, 0, False)
    await marked(stream, client, gone, "retry")


async def test_a_deleted_retry_stream_becomes_as_many_letters(stream: Stream, client: Client) -> None:
    await park(stream, client, *"abc")
    await client.delete(stream.keys[0].retry)
    first = await reenter(stream, count=2)
    assert (first.moved, first.lost, first.more) == (0, 2, True)
    assert (await reenter(stream)).lost == 1
    assert await unaccounted(stream) == 0


async def test_a_beat_a_trial_or_a_hand_back_does_not_drop_what_lost_its_content(
    stream: Stream, client: Client
) -> None:
    """From Redis 7 on XCLAIM forgets such an entry: neither letter nor count would be left of it."""
    ids = await send(stream, client, "a")
    await client.xdel(stream.keys[0].events, *ids)
    assert await stream.beat(0, "w1", ids) == []
    assert await stream.on_trial(0, "w1", ids[0], deliveries=4) is True
    assert await stream.hand_back(0, "w1", ids, idle_ms=60_000) == 0
    assert await stream.retire(0, "w1") is False
    assert await deliveries(client, stream) == {ids[0]: ("w1", 1)}


async def test_a_retry_whose_content_is_gone_is_made_of_what_the_worker_holds(stream: Stream, client: Client) -> None:
    """Acknowledged, the delivery would be lost, although the worker still has all of it."""
    sent = event("a", payload=b'{"n": 1.10}')
    await stream.append(0, [appendable(sent), appendable(event("b"))])
    gone, other = await read(stream, client)
    await client.xdel(stream.keys[0].events, gone)
    meta = appendable(sent).meta
    retries = [Settlement(gone, "retry", "shop", meta, 0, "p:1"), Settlement(other, "retry", "shop", meta, 60_000)]
    assert await stream.settle(0, retries) == Settled(1, [gone])
    assert await stream.settle(0, retries) == Settled(0, [gone])
    restored = [
        Settlement(gone, "retry", "shop", meta, 0, "p:1", "a", sent.payload),
        Settlement(other, "applied", "shop"),
    ]
    assert await stream.settle(0, restored) == Settled(1, [])
    assert await stream.settle(0, restored) == Settled(0, [])
    assert await unaccounted(stream) == 0
    assert await client.scard(stream.keys[0].waiting("p:1")) == 1
    assert (await reenter(stream)).moved == 1
    (entry,) = await stream.fetch(client, 0, "w1", count=10, bytes_max=PLENTY)
    again = decode(entry).event
    assert (again.payload, again.provider_event_id, again.delivery_id) == (sent.payload, "a", sent.delivery_id)


async def test_a_late_retry_of_what_another_worker_settled_is_not_gone(stream: Stream, client: Client) -> None:
    """Its content was deleted by its settle; sent again with the payload it would be applied once more."""
    ids = await send(stream, client, "a")
    await stream.settle(0, [Settlement(ids[0], "applied", "shop")])
    assert await stream.settle(0, [Settlement(ids[0], "retry", "shop", b"{}", 0)]) == Settled(0, [])
    restored = Settlement(ids[0], "retry", "shop", b"{}", 0, None, "a", b"{}")
    assert await stream.settle(0, [restored]) == Settled(0, [])
    assert await unaccounted(stream) == 0


async def test_a_strangers_entry_that_is_to_be_retried_is_not_lost_half_way(stream: Stream, client: Client) -> None:
    """It lacks fields that the retry entry needs: the script would fail after it had acknowledged."""
    await client.xadd(stream.keys[0].events, {"hello": "x"})
    (entry_id,) = await read(stream, client)
    assert await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 0)]) == Settled(0, [entry_id])
    assert await deliveries(client, stream) == {entry_id: ("w1", 1)}


async def test_markers_are_written_although_redis_is_full(own_redis: Callable[..., RedisServer]) -> None:
    client = connect(own_redis().url, timeout_seconds=5)
    stream = Stream(client, prefix="full", shards=1)
    owned, claimed = await send(stream, client, *"ab")
    await park(stream, client, "c")
    await client.xdel(stream.keys[0].events, owned, claimed)
    await client.delete(stream.keys[0].retry)
    await client.config_set("maxmemory", 1)
    stuck = [item for item in await stream.stuck(0, idle_ms=0, count=10) if item.entry_id == claimed]
    assert (await stream.claim(0, "w2", stuck, idle_ms=0, bytes_max=PLENTY)).lost == 1
    assert (await stream.own(client, 0, "w1", count=10, bytes_max=PLENTY)).lost == 1
    assert (await reenter(stream)).lost == 1
    assert await unaccounted(stream) == 0
    await client.aclose()


async def marked(stream: Stream, client: Client, lost: bytes, queue: str) -> None:
    """The marker is there, is read like any entry, ends as `dead`, and then everything is accounted for."""
    assert await unaccounted(stream) == 0
    marker = {b"v": b"1", b"lost": lost, b"queue": queue.encode()}
    assert [held for held in await fields(client, stream.keys[0].events) if b"lost" in held] == [marker]
    entries = await stream.fetch(client, 0, "w3", count=10, bytes_max=PLENTY)
    (entry,) = [entry for entry in entries if b"lost" in entry.fields]
    assert await stream.settle(0, [Settlement(entry.entry_id, "dead", "unknown")]) == Settled(1, [])
    assert await unaccounted(stream) == 0
