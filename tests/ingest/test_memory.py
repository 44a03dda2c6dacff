"""What a gate holds is what it is given, once: nothing is kept twice, and nothing waits for the collector.

That all of it together stays below its limit is shown by tests/test_overload.py.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tracemalloc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from ingest.appender import Appender
from ingest.fuse import Fuse
from ingest.group_commit import OverloadedError
from tests.fixtures import until
from tests.ingest.conftest import StartHall
from tests.ingest.running import SECRETS, running
from tests.ingest.test_outages import stopped
from tidegate.embedded import RedisServer
from tidegate.stream import Appendable, Stream, connect

BODY_BYTES = 1_400_000
BODIES = 5


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_what_there_was_no_room_for_is_let_go_of_at_once(stream: Stream, no_collector: None) -> None:
    """In a ring of exception, traceback and frame it would stay until the next full collection: minutes of refused payloads."""
    fuse = Fuse("Redis", stream.probe, probe_seconds=1, pause_seconds_max=1, instead="")
    appender = Appender(stream, fuse, backlog_max=1, events_max=10, append_seconds=5)
    payload = b"%d" % sys.maxsize

    async def is_refused(number: int) -> bool:
        items = [Appendable("crm", f"{number}-{at}", b"{}", payload) for at in range(4)]
        try:
            await appender.append(items)
        except OverloadedError:
            return True
        return False

    assert await is_refused(8)  # redis-py, for one, keeps what it first calls a script with
    before = sys.getrefcount(payload)
    assert await asyncio.gather(*map(is_refused, range(8))) == [True] * 8
    await appender.drain()
    assert sys.getrefcount(payload) == before


async def test_while_its_events_wait_to_be_durable_a_body_is_held_once(own_redis: Callable[..., RedisServer]) -> None:
    redis = own_redis()
    client = connect(redis.url, timeout_seconds=20)
    stream = Stream(client, prefix="tg", shards=1, repeat_seconds=20, call_seconds=20)
    async with aclosing(client), running(stream, append_seconds=20.0) as gate:

        async def post(number: int) -> int:
            return await _asked(gate.parts.gate, number)

        assert await post(0) == 202
        with stopped(redis.pid):
            tracemalloc.start()
            posting = [asyncio.create_task(post(number)) for number in range(1, BODIES + 1)]

            async def all_wait() -> bool:
                return gate.parts.tiers._pending == BODIES

            await until(all_wait)
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert await asyncio.gather(*posting) == [202] * BODIES
    assert held < (BODIES + 2.5) * BODY_BYTES, "once each, and what is on its way to Redis"


async def _asked(app: Any, number: int) -> int:
    """Return what ``app`` answers to a large event; nobody but the application holds its body."""

    async def receive() -> dict[str, Any]:
        event = {"_id": f"act_{number}", "type": "emailsOpened", "secret": SECRETS["lemlist"], "text": "x" * BODY_BYTES}
        return {"type": "http.request", "body": json.dumps(event).encode(), "more_body": False}

    statuses: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        statuses.append(message.get("status", 0))

    headers = [(b"host", b"gate"), (b"content-length", b"1400000")]
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": "/webhooks/lemlist",
        "raw_path": b"/webhooks/lemlist", "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1),
    }  # fmt: skip
    await app(scope, receive, send)
    return statuses[0]


@asynccontextmanager
async def _connected(port: int, *pieces: bytes) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.writelines(pieces)
    try:
        yield reader
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi",
        b"POST /now HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n" + b"x" * 30_000,
        b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n" + b"x" * 30_000,
        b"POST /echo HTTP/1.1\r\nhost: x\r\n",
    ],
    ids=["answered", "turned away unread", "broken off in its body", "broken off in its head"],
)
async def test_a_connection_that_ended_leaves_nothing_behind(
    start_hall: StartHall, no_collector: None, request_bytes: bytes
) -> None:
    """With each request that is turned away a connection ends: rings of 38 KiB each, ten thousand of them in a minute."""
    hall = await start_hall()
    async with _connected(hall.port, request_bytes):

        async def arrived() -> bool:
            return len(hall.connections) == 1 and (
                bool(hall.desk.paths) or (not request_bytes.endswith(b"x") and b"\r\n\r\n" not in request_bytes)
            )

        await until(arrived)
        left = weakref.WeakSet(hall.connections._open)

    async def gone() -> bool:
        return not left

    await until(gone)
