"""The moves on a real Redis: each is atomic, bounded, and safe to send twice."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from redis.exceptions import ResponseError

from tests.fixtures import appendable, event
from tidegate.embedded import RedisServer
from tidegate.ledger import shard_balance
from tidegate.stream import GROUP, BacklogFullError, Settlement, Stream, connect
from tidegate.stream.client import Client
from tidegate.wire import decode


async def read(stream: Stream, client: Client, consumer: str = "w1", shard: int = 0) -> list[bytes]:
    await stream.ensure_group(shard)
    entries = await stream.read(client, consumer, count=100, block_ms=None, shards=[shard])
    return [entry.entry_id for entry in entries]


async def unaccounted(stream: Stream) -> int:
    return sum([abs(shard_balance(await stream.audit(shard)).unaccounted) for shard in range(len(stream.keys))])


async def test_append_sent_twice_is_one_entry(stream: Stream) -> None:
    item = appendable(event())
    assert await stream.append(0, [item]) == [True]
    assert await stream.append(0, [item]) == [False]
    state = await stream.audit(0)
    assert (state.events, state.ledger) == (1, {("accepted", "shop"): 1})


async def test_the_same_event_twice_in_one_append_is_one_entry(stream: Stream) -> None:
    item = appendable(event())
    assert await stream.append(0, [item, item]) == [True, False]
    assert (await stream.audit(0)).events == 1


async def test_a_full_backlog_refuses_all_of_an_append_and_counts_retries(stream: Stream, client: Client) -> None:
    await stream.append(0, [appendable(event("a")), appendable(event("b"))])
    first, _ = await read(stream, client)
    await stream.settle(0, [Settlement(first, "retry", "shop", b"{}", 60_000)])
    with pytest.raises(BacklogFullError) as refused:
        await stream.append(0, [appendable(event("c")), appendable(event("d"))], backlog_max=3)
    assert refused.value.backlog == 2
    assert await stream.append(0, [appendable(event("c"))], backlog_max=3) == [True]
    assert await unaccounted(stream) == 0


async def test_an_event_is_still_seen_in_the_bucket_after(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    item = appendable(event())
    await stream.append(0, [item])
    real = stream._seen

    def later(keys: object) -> tuple[str, str]:
        now, _ = real(stream.keys[0])
        return now + "-next", now

    monkeypatch.setattr(stream, "_seen", later)
    assert await stream.append(0, [item]) == [False]


async def test_settle_sent_twice_counts_once(stream: Stream, client: Client) -> None:
    """Pitfall 8 and 9: what is done is acknowledged and deleted, together, once."""
    await stream.append(0, [appendable(event())])
    (entry_id,) = await read(stream, client)
    done = [Settlement(entry_id, "applied", "shop")]
    assert await stream.settle(0, done) == (1, 0)
    assert await stream.settle(0, done) == (0, 0)
    state = await stream.audit(0)
    assert (state.events, state.pending, state.ledger["applied", "shop"]) == (0, 0, 1)


async def test_a_settle_that_was_overtaken_does_nothing(stream: Stream, client: Client) -> None:
    """A zombie's `applied` after another worker's `retry`: the delivery stays where the first settle put it."""
    await stream.append(0, [appendable(event())])
    (entry_id,) = await read(stream, client)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 60_000)])
    assert await stream.settle(0, [Settlement(entry_id, "applied", "shop")]) == (0, 0)
    state = await stream.audit(0)
    assert (state.retry, state.ledger.get(("applied", "shop"))) == (1, None)
    assert await unaccounted(stream) == 0


async def test_a_retry_keeps_its_payload_and_comes_back_when_due(stream: Stream, client: Client) -> None:
    sent = event("a", payload=b'{"\xc3\xa9": 1.10}')
    await stream.append(0, [appendable(sent)])
    (entry_id,) = await read(stream, client)
    meta = json.loads(appendable(sent).meta) | {"attempt": 2}
    retry = Settlement(entry_id, "retry", "shop", json.dumps(meta).encode(), 0)
    await stream.settle(0, [retry])
    assert await stream.settle(0, [retry]) == (0, 0)
    moved, next_ms, vanished = await stream.reenter(0, count=10)
    assert (moved, next_ms, vanished) == (1, None, 0)
    assert (await stream.reenter(0, count=10))[0] == 0
    (entry,) = await stream.read(client, "w1", count=10, block_ms=None, shards=[0])
    again = decode(entry).event
    assert (again.payload, again.attempt, again.delivery_id) == (sent.payload, 2, sent.delivery_id)
    assert await unaccounted(stream) == 0


async def test_a_retry_that_is_not_due_stays(stream: Stream, client: Client) -> None:
    await stream.append(0, [appendable(event())])
    (entry_id,) = await read(stream, client)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 60_000)])
    moved, next_ms, _ = await stream.reenter(0, count=10)
    assert moved == 0
    assert next_ms is not None


async def test_reenter_is_bounded(stream: Stream, client: Client) -> None:
    """Pitfall 16."""
    await stream.append(0, [appendable(event(str(n))) for n in range(5)])
    ids = await read(stream, client)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 0) for entry_id in ids])
    assert [(await stream.reenter(0, count=2))[0] for _ in range(4)] == [2, 2, 1, 0]


async def test_release_makes_orphans_due_on_every_shard(stream: Stream, client: Client) -> None:
    for shard in (0, 1):
        await stream.append(shard, [appendable(event(f"o{shard}"))])
        (entry_id,) = await read(stream, client, shard=shard)
        waiting = Settlement(entry_id, "retry", "shop", b"{}", 3_600_000, "enrollment:1")
        await stream.settle(shard, [waiting])
        assert (await stream.reenter(shard, count=10))[0] == 0
    assert await stream.release(["enrollment:1", "enrollment:2"]) == 2
    assert await stream.release(["enrollment:1"]) == 0
    assert [(await stream.reenter(shard, count=10))[0] for shard in (0, 1)] == [1, 1]


async def test_release_does_not_revive_what_has_left_the_retry_stream(stream: Stream, client: Client) -> None:
    await stream.append(0, [appendable(event())])
    (entry_id,) = await read(stream, client)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 0, "p:1")])
    waiting = stream.keys[0].waiting("p:1")
    (retry_id,) = await client.smembers(waiting)
    await stream.reenter(0, count=10)
    assert await client.smembers(waiting) == set()
    await client.sadd(waiting, retry_id)  # as a release that was under way would have seen it
    await stream.release(["p:1"])
    state = await stream.audit(0)
    assert (state.due, state.retry, state.events) == (0, 0, 1)


async def test_a_replay_goes_past_the_early_dedupe_once(stream: Stream) -> None:
    sent = event()
    await stream.append(0, [appendable(sent)])
    letter = (appendable(sent), sent.delivery_id.bytes, 1)
    assert await stream.replay(0, [letter]) == [True]
    assert await stream.replay(0, [letter]) == [False]
    assert await stream.replay(0, [(appendable(sent), sent.delivery_id.bytes, 2)]) == [True]
    state = await stream.audit(0)
    assert (state.events, state.ledger["replayed", "shop"]) == (3, 2)
    assert await unaccounted(stream) == 0


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
    await stream.claim(0, "w2", [b], idle_ms=0)
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
    (stuck,) = await stream.stuck(0, idle_ms=60_000, count=10)
    (entry,) = await stream.claim(0, "w2", [stuck.entry_id], idle_ms=60_000)
    assert entry.entry_id == ids[0]
    assert await stream.retire(0, "w1") is True


async def test_the_group_reads_what_was_there_before_it(stream: Stream, client: Client) -> None:
    """Pitfall 4: a group created at `$` skips the backlog."""
    await stream.append(0, [appendable(event())])
    assert len(await read(stream, client)) == 1


async def test_settle_heals_a_lost_group(stream: Stream, client: Client) -> None:
    """Pitfall 5: after a fail-over the group is gone; the entries are read again, nothing is settled blindly."""
    await stream.append(0, [appendable(event())])
    (entry_id,) = await read(stream, client)
    await client.xgroup_destroy(stream.keys[0].events, GROUP)
    assert await stream.settle(0, [Settlement(entry_id, "applied", "shop")]) == (0, 0)
    assert await read(stream, client) == [entry_id]


async def test_claim_leaves_out_what_was_deleted(stream: Stream, client: Client) -> None:
    await stream.append(0, [appendable(event("a")), appendable(event("b"))])
    a, b = await read(stream, client)
    await client.xdel(stream.keys[0].events, a)
    assert [entry.entry_id for entry in await stream.claim(0, "w2", [a, b], idle_ms=0)] == [b]


async def test_reading_ones_own_pending_entries_pages_to_the_end(stream: Stream, client: Client) -> None:
    """Pitfall 3: what a lost answer had delivered is found again, all of it; deleted entries are let go."""
    await stream.append(0, [appendable(event(str(n))) for n in range(5)])
    ids = await read(stream, client)
    await stream.ensure_group(1)
    await client.xdel(stream.keys[0].events, ids[1])
    again = await stream.read_own(client, "w1", count=2)
    assert [entry.entry_id for entry in again] == [ids[0], *ids[2:]]
    assert (await stream.audit(0)).pending == 4


async def test_every_key_is_named_in_the_dictionary(stream: Stream, client: Client, prefix: str) -> None:
    await stream.append(0, [appendable(event())])
    (entry_id,) = await read(stream, client)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 60_000, "p:1")])
    kinds = {key.decode().split("}:")[1].split(":")[0] async for key in client.scan_iter(match=f"{prefix}*")}
    assert kinds == {"events", "retry", "due", "waiting", "seen", "ledger"}


async def test_retries_come_back_although_redis_is_full(own_redis: Callable[..., RedisServer]) -> None:
    """`noeviction` refuses writes that need memory: a full stream must still be able to drain."""
    client = connect(own_redis().url, timeout_seconds=5)
    stream = Stream(client, prefix="full", shards=1)
    await stream.append(0, [appendable(event("a")), appendable(event("b"))])
    a, b = await read(stream, client)
    await stream.settle(0, [Settlement(a, "retry", "shop", b"{}", 0)])
    await client.config_set("maxmemory", 1)
    with pytest.raises(ResponseError, match="maxmemory"):
        await stream.append(0, [appendable(event("c"))])
    assert (await stream.reenter(0, count=10))[0] == 1
    assert await stream.settle(0, [Settlement(b, "retry", "shop", b"{}", 0)]) == (1, 0)
    assert await unaccounted(stream) == 0
    await client.aclose()


async def test_a_strangers_entry_among_the_retries_does_not_hold_up_the_others(stream: Stream, client: Client) -> None:
    keys = stream.keys[0]
    strange = await client.xadd(keys.retry, {"hello": "x"})
    assert isinstance(strange, bytes)
    await client.zadd(keys.due, {strange.decode(): 1})
    await stream.append(0, [appendable(event())])
    (entry_id,) = await read(stream, client)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", appendable(event()).meta, 0)])
    assert (await stream.reenter(0, count=10))[0] == 2
    assert (await stream.audit(0)).retry == 0


async def test_a_retry_whose_entry_is_gone_is_reported_and_let_go(stream: Stream, client: Client) -> None:
    await stream.append(0, [appendable(event())])
    (entry_id,) = await read(stream, client)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 0)])
    await client.delete(stream.keys[0].retry)
    assert await stream.reenter(0, count=10) == (0, None, 1)
    assert (await stream.audit(0)).due == 0


async def test_an_orphan_is_remembered_for_as_long_as_it_waits(client: Client, prefix: str) -> None:
    stream = Stream(client, prefix=prefix, shards=1, waiting_ttl_seconds=1)
    await stream.append(0, [appendable(event("a")), appendable(event("b"))])
    a, b = await read(stream, client)
    await stream.settle(0, [Settlement(a, "retry", "shop", b"{}", 86_400_000, "p:1")])
    await stream.settle(0, [Settlement(b, "retry", "shop", b"{}", 0, "p:1")])
    assert await client.ttl(stream.keys[0].waiting("p:1")) > 86_400


async def test_a_replay_is_remembered_longer_than_an_event_is(client: Client, prefix: str) -> None:
    """A letter may be `replaying` for weeks, and be replayed once more by somebody impatient."""
    stream = Stream(client, prefix=prefix, shards=1, seen_seconds=2)
    sent = event()
    letter = (appendable(sent), sent.delivery_id.bytes, 1)
    await stream.replay(0, [letter])
    async for key in client.scan_iter(match=f"{prefix}*replayed*"):
        assert await client.ttl(key) > 90 * 86_400
    await client.delete(*stream._seen(stream.keys[0]))
    assert await stream.replay(0, [letter]) == [False]
