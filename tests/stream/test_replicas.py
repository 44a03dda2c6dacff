"""An append that waits for replicas says yes only when they have it, however often it is repeated."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
import redis as sync_redis

from tests.fixtures import appendable, event, until
from tidegate.embedded import RedisServer
from tidegate.stream import Client, NotReplicatedError, Replicas, Stream, connect


@pytest_asyncio.fixture
async def pair(own_redis: Callable[..., RedisServer]) -> AsyncIterator[tuple[Client, RedisServer]]:
    """A primary's client, and a replica that follows it."""
    primary, replica = own_redis(), own_redis()
    client = connect(primary.url, timeout_seconds=5)
    # Their defaults wait: five seconds for more replicas to come, ten for them to catch up before the server may stop.
    await client.config_set("repl-diskless-sync-delay", 0)
    await client.config_set("shutdown-timeout", 0)
    password = primary.folder.password()
    with sync_redis.Redis.from_url(replica.url) as follower:
        follower.config_set("masterauth", password)
        follower.config_set("shutdown-timeout", 0)
        follower.replicaof("127.0.0.1", primary.port)

    async def follows() -> bool:
        # Online is it once it was sent everything; it answers when it has loaded that.
        await client.delete("tg:nothing")
        await client.set("tg:nothing", 1, px=1)
        return bool(await client.execute_command("WAIT", 1, 100) == 1)  # type: ignore[no-untyped-call]

    async def may_stop() -> bool:
        """A server does not stop, whatever it is told, before it has written its first file of commands."""
        with sync_redis.Redis.from_url(replica.url) as follower:
            told = follower.info("persistence")
        return not (told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"])

    await until(follows)
    await until(may_stop)
    yield client, replica
    await client.aclose()


def stream_of(client: Client, *, count: int = 1, wait_ms: int = 3000) -> Stream:
    return Stream(client, prefix="tg", shards=1, repeat_seconds=1.0, replicas=Replicas(count, wait_ms))


async def test_what_was_appended_is_on_the_replica(pair: tuple[Client, RedisServer]) -> None:
    client, replica = pair
    assert await stream_of(client).append(0, [appendable(event())]) == [True]
    await stream_of(client).probe()
    with sync_redis.Redis.from_url(replica.url) as follower:
        assert follower.xlen("tg:{0}:events") == 1


async def test_without_the_replica_it_fails_and_so_does_its_repetition_that_adds_nothing(
    pair: tuple[Client, RedisServer],
) -> None:
    """The event is on the primary by then: to call it a duplicate, and durable, would be a lie."""
    client, replica = pair
    stream = stream_of(client, wait_ms=200)
    os.kill(replica.pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            with pytest.raises(NotReplicatedError, match="0 of 1"):
                await stream.append(0, [appendable(event())])
        with pytest.raises(NotReplicatedError):
            await stream.probe()
    finally:
        os.kill(replica.pid, signal.SIGCONT)
    again = stream_of(client)
    await until(lambda: _appended(again))
    assert (await stream.audit(0)).events == 1


async def _appended(stream: Stream) -> bool:
    return await stream.append(0, [appendable(event())]) == [False]


async def test_more_replicas_than_there_are_is_a_failure(pair: tuple[Client, RedisServer]) -> None:
    client, _ = pair
    with pytest.raises(NotReplicatedError, match="1 of 2"):
        await stream_of(client, count=2, wait_ms=2000).append(0, [appendable(event())])


async def test_a_redis_before_7_2_is_asked_with_wait(
    pair: tuple[Client, RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renamed away, WAITAOF is as unknown to the server as to an old one."""
    client, _ = pair
    stream = stream_of(client)
    queue = stream._queue_wait

    def unknown(pipe: Any, replicas: Replicas) -> None:
        if stream._wait == "WAITAOF":
            pipe.execute_command("WAIT", replicas.count, replicas.wait_ms)
            pipe.execute_command("WAITAOF7", 0, replicas.count, replicas.wait_ms)
        else:
            queue(pipe, replicas)

    monkeypatch.setattr(stream, "_queue_wait", unknown)
    assert await stream.append(0, [appendable(event())]) == [True]
    assert stream._wait == "WAIT"
