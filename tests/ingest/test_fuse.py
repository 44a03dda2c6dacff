"""A server that is away costs requests nothing, and is used again soon after it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ingest.fuse import Fuse
from tests.fixtures import until
from tidegate.embedded import RedisServer
from tidegate.stream import UNAVAILABLE, Stream, connect
from tidegate.telemetry import metrics


class Server:
    def __init__(self) -> None:
        self.well = False
        self.probes = 0

    async def probe(self) -> None:
        self.probes += 1
        if not self.well:
            raise ConnectionError("refused")


def fuse_of(server: Server, *, pause_seconds_max: float = 0.05) -> Fuse:
    return Fuse(
        "Redis", server.probe, probe_seconds=1, pause_seconds_max=pause_seconds_max, instead="events go elsewhere"
    )


async def test_it_stays_blown_until_a_probe_succeeds_and_says_both_once(capfd: pytest.CaptureFixture[str]) -> None:
    server = Server()
    fuse = fuse_of(server)
    running = asyncio.create_task(fuse.run())
    assert fuse.is_whole()
    for _ in range(5):
        fuse.blow(ConnectionError("redis://user:secret@host refused"))
    assert not fuse.is_whole()
    assert "secret" not in fuse.why
    assert metrics.BREAKER_STATE.labels("redis")._value.get() == 2

    async def probed() -> bool:
        return server.probes >= 3

    await until(probed)
    assert not fuse.is_whole()
    server.well = True

    async def mended() -> bool:
        return fuse.is_whole()

    await until(mended)
    assert (fuse.why, metrics.BREAKER_STATE.labels("redis")._value.get()) == ("", 0)
    said = capfd.readouterr().err
    assert (said.count("is of no use"), said.count("is well again")) == (1, 1)
    running.cancel()


async def test_nobody_is_asked_while_it_is_whole() -> None:
    server = Server()
    fuse = fuse_of(server)
    running = asyncio.create_task(fuse.run())
    for _ in range(10):
        await asyncio.sleep(0)
    assert server.probes == 0
    running.cancel()


async def test_a_probe_that_hangs_is_given_up() -> None:
    hung = 0

    async def hangs() -> None:
        nonlocal hung
        hung += 1
        await asyncio.Event().wait()

    fuse = Fuse("Redis", hangs, probe_seconds=0.01, pause_seconds_max=0.01, instead="")
    fuse.blow(OSError("away"))
    running = asyncio.create_task(fuse.run())

    async def asked_again() -> bool:
        return hung >= 3

    await until(asked_again)
    assert not fuse.is_whole()
    running.cancel()


async def test_the_probe_of_redis_fails_where_an_append_would(own_redis: Callable[..., RedisServer]) -> None:
    """A Redis that answers PING and refuses writes is of no use to us."""
    redis = own_redis()
    client = connect(redis.url, timeout_seconds=2)
    stream = Stream(client, prefix="tg", shards=2)
    await stream.probe()
    await client.config_set("min-replicas-to-write", 1)
    with pytest.raises(Exception, match="NOREPLICAS"):
        await stream.probe()
    await client.config_set("min-replicas-to-write", 0)
    await stream.probe()
    redis.kill()
    with pytest.raises(UNAVAILABLE):
        await stream.probe()
    await client.aclose()
