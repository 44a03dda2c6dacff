"""Retries on a real Redis: they keep their payload, come back when due, and leave room for live traffic."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from redis.exceptions import ResponseError

from tests.fixtures import appendable, event
from tests.stream.steps import due, park, read, reenter, unaccounted
from tidegate.embedded import RedisServer
from tidegate.stream import Client, Reentered, Settled, Settlement, Stream, connect
from tidegate.wire import decode

KIB = b"x" * 1024


async def test_a_retry_keeps_its_payload_and_comes_back_when_due(stream: Stream, client: Client) -> None:
    sent = event("a", payload=b'{"\xc3\xa9": 1.10}')
    await stream.append(0, [appendable(sent)])
    (entry_id,) = await read(stream, client)
    meta = json.loads(appendable(sent).meta) | {"attempt": 2}
    retry = Settlement(entry_id, "retry", "shop", json.dumps(meta).encode(), 0)
    await stream.settle(0, [retry])
    assert await stream.settle(0, [retry]) == Settled(0, [])
    assert await reenter(stream) == Reentered(1, None, 0, False)
    assert (await reenter(stream))[0] == 0
    (entry,) = await stream.read(client, "w1", count=10, block_ms=None, shards=[0])
    again = decode(entry).event
    assert (again.payload, again.attempt, again.delivery_id) == (sent.payload, 2, sent.delivery_id)
    assert await unaccounted(stream) == 0


async def test_a_retry_that_is_not_due_stays(stream: Stream, client: Client) -> None:
    await stream.append(0, [appendable(event())])
    (entry_id,) = await read(stream, client)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 60_000)])
    moved, next_ms, lost, more = await reenter(stream)
    assert (moved, lost, more) == (0, 0, False)
    assert next_ms is not None
    assert next_ms > time.time() * 1000


async def test_reenter_is_bounded(stream: Stream, client: Client) -> None:
    """Pitfall 16."""
    await stream.append(0, [appendable(event(str(n))) for n in range(5)])
    ids = await read(stream, client)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 0) for entry_id in ids])
    assert [(await reenter(stream, count=2))[0] for _ in range(4)] == [2, 2, 1, 0]


async def test_release_makes_orphans_due_on_every_shard(stream: Stream, client: Client) -> None:
    for shard in (0, 1):
        await stream.append(shard, [appendable(event(f"o{shard}"))])
        (entry_id,) = await read(stream, client, shard=shard)
        waiting = Settlement(entry_id, "retry", "shop", b"{}", 3_600_000, "enrollment:1")
        await stream.settle(shard, [waiting])
        assert (await reenter(stream, shard))[0] == 0
    assert await stream.release(["enrollment:1", "enrollment:2"]) == 2
    assert await stream.release(["enrollment:1"]) == 0
    assert [(await reenter(stream, shard))[0] for shard in (0, 1)] == [1, 1]


async def test_release_does_not_revive_what_has_left_the_retry_stream(stream: Stream, client: Client) -> None:
    await stream.append(0, [appendable(event())])
    (entry_id,) = await read(stream, client)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 0, "p:1")])
    waiting = stream.keys[0].waiting("p:1")
    (retry_id,) = await client.smembers(waiting)
    await reenter(stream)
    assert await client.smembers(waiting) == set()
    await client.sadd(waiting, retry_id)  # as a release that was under way would have seen it
    await stream.release(["p:1"])
    state = await stream.audit(0)
    assert (state.due, state.retry, state.events) == (0, 0, 1)


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
    assert (await reenter(stream))[0] == 1
    assert await stream.settle(0, [Settlement(b, "retry", "shop", b"{}", 0)]) == Settled(1, [])
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
    assert (await reenter(stream))[0] == 2
    assert (await stream.audit(0)).retry == 0


async def test_an_orphan_is_remembered_for_as_long_as_it_waits(client: Client, prefix: str) -> None:
    stream = Stream(client, prefix=prefix, shards=1, waiting_ttl_seconds=1)
    await stream.append(0, [appendable(event("a")), appendable(event("b"))])
    a, b = await read(stream, client)
    await stream.settle(0, [Settlement(a, "retry", "shop", b"{}", 86_400_000, "p:1")])
    await stream.settle(0, [Settlement(b, "retry", "shop", b"{}", 0, "p:1")])
    assert await client.ttl(stream.keys[0].waiting("p:1")) > 86_400


async def test_retries_leave_room_for_live_traffic(stream: Stream, client: Client) -> None:
    """Three thousand due at once must not queue up in front of what comes in now."""
    for at in range(0, 3000, 100):
        await park(stream, client, *(str(n) for n in range(at, at + 100)))
    while (moved := await reenter(stream, count=400, room=1000, floor=10)).moved > 10:
        assert (await stream.audit(0)).events <= 1000
    assert moved == Reentered(10, moved.next_due_ms, 0, True)
    assert (await stream.audit(0)).events == 1010
    assert await unaccounted(stream) == 0


async def test_a_reentry_moves_no_more_once_the_bytes_are_reached(stream: Stream, client: Client) -> None:
    await park(stream, client, *"abcde", payload=KIB)
    assert (await reenter(stream, bytes_max=2048)).moved == 2
    last = [await reenter(stream, bytes_max=1) for _ in range(4)]
    assert [(found.moved, found.more) for found in last] == [(1, True), (1, True), (1, False), (0, False)]
    assert await unaccounted(stream) == 0


async def test_a_due_time_that_was_lost_is_made_anew(stream: Stream, client: Client) -> None:
    """Without one an entry would wait on the retry stream for ever."""
    await park(stream, client, *(str(n) for n in range(30)), delay_ms=3_600_000)
    assert await stream.mend(0) == 0
    kept = (await due(client, stream))[12]
    score = await client.zscore(stream.keys[0].due, kept)
    assert score is not None
    await client.delete(stream.keys[0].due)
    await client.zadd(stream.keys[0].due, {kept: score})
    assert await stream.mend(0) == 29
    assert await stream.mend(0) == 0
    assert await client.zscore(stream.keys[0].due, kept) == score
    assert (await reenter(stream, count=100)).moved == 29
    assert await unaccounted(stream) == 0


async def test_mending_large_retries_is_done_in_steps(
    stream: Stream, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.stream.stream.MENDED_BYTES_MAX", 10_000)
    await park(stream, client, *(str(n) for n in range(60)), payload=KIB)
    await client.delete(stream.keys[0].due)
    before = await calls(client)
    assert await stream.mend(0) == 60
    assert await calls(client) - before == 4  # of 16 entries each, the last of 12
    assert (await stream.audit(0)).due == 60


async def calls(client: Client) -> int:
    """Return how many scripts Redis has run."""
    stats = await client.info("commandstats")
    return int(stats["cmdstat_evalsha"]["calls"])


async def test_what_another_program_put_among_the_due_times_is_thrown_out(stream: Stream, client: Client) -> None:
    """Of `5` Redis would give us entry 5-1 as well; of `x` an error, at each call, before anything of ours is moved."""
    await park(stream, client, "a", delay_ms=3_600_000)
    (entry_id,) = await due(client, stream)
    half = entry_id.decode().split("-")[0]
    await client.zadd(stream.keys[0].due, {"x": 1, "-": 2, half: 3, "99999999999999999999-0": 4})
    assert (await reenter(stream))[0::2] == (0, 0)
    assert await due(client, stream) == [entry_id]
    assert await unaccounted(stream) == 0


FILL = """
local now = redis.call('TIME')[1] * 1000
for n = 1, tonumber(ARGV[1]) do
  local id = redis.call('XADD', KEYS[1], '*', 'v', '1', 'source', 'shop', 'id', n, 'meta', '{}', 'payload', '{}', 'waiting', '')
  redis.call('ZADD', KEYS[2], now, id)
end
redis.call('HINCRBY', KEYS[3], 'accepted:shop', ARGV[1])
"""
APPLY_ALL = """
redis.call('HINCRBY', KEYS[2], 'applied:shop', redis.call('XLEN', KEYS[1]))
redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
"""


async def test_a_million_retries_due_at_once_come_back_in_small_steps(own_redis: Callable[..., RedisServer]) -> None:
    client = connect(own_redis(appendonly=False, appendfsync="no").url, timeout_seconds=30)
    stream = Stream(client, prefix="many", shards=1)
    keys = stream.keys[0]
    fill = client.register_script(FILL)
    apply_all = client.register_script(APPLY_ALL)
    for _ in range(20):
        await fill([keys.retry, keys.due, keys.ledger], [50_000])
    total = steps = 0
    more = True
    while more:
        found = await stream.reenter(0, count=500, room=5000, floor=50, bytes_max=1_048_576)
        waiting = await client.xlen(keys.events)
        assert found.moved <= 500
        assert waiting <= 5000 + 50
        total, steps, more = total + found.moved, steps + 1, found.more
        if found.moved <= 50 or not more:  # no room any more, as when workers are slower than we
            assert waiting >= 5000 or not more
            assert await unaccounted(stream) == 0
            await apply_all([keys.events, keys.ledger])
    assert total == 1_000_000
    state = await stream.audit(0)
    assert (state.events, state.retry, state.due, state.ledger["applied", "shop"]) == (0, 0, 0, 1_000_000)
    assert steps < 2_500
    await client.aclose()
