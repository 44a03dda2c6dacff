"""The moves on a real Redis: each is atomic, bounded, and safe to send twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.fixtures import appendable, event
from tests.stream.steps import read, unaccounted
from tidegate.embedded import RedisServer
from tidegate.stream import (
    GROUP,
    BacklogFullError,
    Client,
    Pauses,
    Rejected,
    RejectedLog,
    Settled,
    Settlement,
    Stream,
    connect,
    keys,
)

REFUSED = Rejected("a", 1, "shop", "hubspot", 401, "stale", "", "v3", None, 2, "", "", "", "", 0)


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
    assert await stream.settle(0, done) == Settled(1, [])
    assert await stream.settle(0, done) == Settled(0, [])
    state = await stream.audit(0)
    assert (state.events, state.pending, state.ledger["applied", "shop"]) == (0, 0, 1)


async def test_a_settle_that_was_overtaken_does_nothing(stream: Stream, client: Client) -> None:
    """A zombie's `applied` after another worker's `retry`: the delivery stays where the first settle put it."""
    await stream.append(0, [appendable(event())])
    (entry_id,) = await read(stream, client)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 60_000)])
    assert await stream.settle(0, [Settlement(entry_id, "applied", "shop")]) == Settled(0, [])
    state = await stream.audit(0)
    assert (state.retry, state.ledger.get(("applied", "shop"))) == (1, None)
    assert await unaccounted(stream) == 0


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


async def test_settle_heals_a_lost_group(stream: Stream, client: Client) -> None:
    """Pitfall 5: after a fail-over the group is gone; the entries are read again, nothing is settled blindly."""
    await stream.append(0, [appendable(event())])
    (entry_id,) = await read(stream, client)
    await client.xgroup_destroy(stream.keys[0].events, GROUP)
    assert await stream.settle(0, [Settlement(entry_id, "applied", "shop")]) == Settled(0, [])
    assert await read(stream, client) == [entry_id]


async def test_every_key_is_named_in_the_dictionary(stream: Stream, client: Client, prefix: str) -> None:
    await stream.append(0, [appendable(event())])
    (entry_id,) = await read(stream, client)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 60_000, "p:1")])
    await stream.replay(0, [(appendable(event()), b"d", 1)])
    (entry_id,) = await read(stream, client)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 60_000, held=True)])
    await stream.turn(0, "sweep", "w1", ttl_ms=60_000)
    await stream.unbox(0, [appendable(event("b"))])
    await stream.begin_epoch(0)
    await Pauses(client, prefix).set("shop", "hold")
    await RejectedLog(client, prefix=prefix).add([REFUSED], 10)
    names = [key.decode() async for key in client.scan_iter(match=f"{prefix}*")]
    kinds = {name.split("}:")[-1].removeprefix(f"{prefix}:").split(":")[0] for name in names}
    assert kinds == {
        "events",
        "retry",
        "due",
        "waiting",
        "held",
        "seen",
        "replayed",
        "unboxed",
        "epoch",
        "ledger",
        "turn",
        "paused",
        "rejected",
    }
    assert all(f":{kind}" in keys.__doc__ for kind in kinds)


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


async def test_a_turn_is_one_workers_until_its_time_is_up(stream: Stream, client: Client) -> None:
    asked = await asyncio.gather(*(stream.turn(0, "sweep", f"w{n}", ttl_ms=60_000) for n in range(5)))
    assert sorted(asked) == [False, False, False, False, True]
    assert await stream.turn(0, "mend", "w9", ttl_ms=60_000) is True
    assert await stream.turn(1, "sweep", "w9", ttl_ms=60_000) is True
    # Nobody gives a turn back: what would happen if its holder died?
    assert 0 < await client.pttl(stream.keys[0].turn("sweep")) <= 60_000


async def test_no_call_waits_for_ever_whatever_the_socket_does(own_redis: Callable[..., RedisServer]) -> None:
    """The socket's own limit starts anew with each byte; here it is longer than anybody would wait."""
    client = connect(own_redis(appendfsync="no").url, timeout_seconds=600)
    patient = Stream(client, prefix="slow", shards=1, call_seconds=60)
    stream = Stream(client, prefix="slow", shards=1, repeat_seconds=0.1, call_seconds=0.1)
    await patient.ensure_group(0)
    await patient.append(0, [appendable(event())])
    await client.client_pause(3_600_000, all=False)
    async with asyncio.timeout(20):
        for call in (
            stream.audit(0),
            stream.turn(0, "sweep", "w1", ttl_ms=1),
            stream.settle(0, []),
            stream.claim(0, "w1", [], idle_ms=0, bytes_max=1),
            stream.read(client, "w1", count=1, block_ms=10),
            stream.fetch(client, 0, "w1", count=1, bytes_max=1),
        ):
            with pytest.raises(TimeoutError):
                await call
    await client.client_unpause()
    # None of the answers that nobody waited for is taken for that of a later call.
    assert [(await patient.audit(0)).events for _ in range(10)] == [1] * 10
    await client.aclose()
