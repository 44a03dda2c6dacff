"""Taking in: what group commit buys."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ingest.appender import Appender
from ingest.fuse import Fuse
from tests.fixtures import appendable, event
from tidegate.stream import Appendable, Client, Stream, connect

REQUESTS_AT_ONCE = 64
Measure = Callable[[str, str, int], Coroutine[Any, Any, float]]


async def xadd_a_request(redis_url: str, _postgres_url: str, events: int) -> float:
    """The usual way: each request sends its own XADD and waits for it. No dedupe, no ledger."""
    client = connect(redis_url, timeout_seconds=30, max_connections=REQUESTS_AT_ONCE)
    key = f"bench-{secrets.token_hex(4)}"

    async def one(item: Appendable) -> None:
        await client.xadd(key, {"source": item.source, "id": item.provider_event_id, "m": item.meta, "p": item.payload})

    return await _measure(client, key, events, one)


async def appender(redis_url: str, _postgres_url: str, events: int) -> float:
    """Ours: requests that arrive during an append share the next; dedupe and ledger in the same call."""
    client = connect(redis_url, timeout_seconds=30)
    prefix = f"bench-{secrets.token_hex(4)}"
    stream = Stream(client, prefix=prefix, shards=1)
    fuse = Fuse("Redis", stream.probe, probe_seconds=30, pause_seconds_max=1, instead="")
    gate = Appender(stream, fuse, backlog_max=0, events_max=256, append_seconds=30)

    async def one(item: Appendable) -> None:
        await gate.append([item])

    return await _measure(client, prefix, events, one)


async def _measure(client: Client, prefix: str, events: int, one: Callable[[Appendable], Awaitable[None]]) -> float:
    items = iter([appendable(event(f"e{number}")) for number in range(events)])

    async def requests() -> None:
        for item in items:
            await one(item)

    started = time.perf_counter()
    await asyncio.gather(*(requests() for _ in range(REQUESTS_AT_ONCE)))
    rate = events / (time.perf_counter() - started)
    async for key in client.scan_iter(match=f"{prefix}*"):
        await client.unlink(key)
    await client.aclose()
    return rate


WAYS: dict[str, Measure] = {"one XADD a request": xadd_a_request, "tidegate: group commit": appender}
