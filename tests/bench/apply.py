"""Applying: what sets, one transaction a batch and one settle a batch buy, and what the guarantees cost."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from redis.exceptions import ResponseError

from consumer import engagement
from consumer.assembly import assemble
from consumer.outcome import Schedule
from consumer.policy import Policy
from tests.fixtures import appendable, event
from tidegate import Event, postgres
from tidegate.postgres import Connection
from tidegate.settings import ConsumerSettings, EngagementSettings, PostgresSettings
from tidegate.stream import Client, Stream, connect
from tidegate.wire import decode

CAMPAIGNS, ENROLLMENTS = 20, 2000
LANES = 2
Measure = Callable[[str, str, int], Coroutine[Any, Any, float]]


async def an_event_at_a_time(redis_url: str, postgres_url: str, events: int) -> float:
    """The usual way: a transaction an event (upsert, look-up, counter), then XACK. A crash may count twice."""
    events = max(1, events // 10)

    async def work(stream: Stream, reader: Client, pool: postgres.Pool) -> None:
        async def lane(name: str) -> None:
            async with pool.connection() as connection:
                while entries := await stream.read(reader, name, count=100, block_ms=None):
                    for entry in entries:
                        item = decode(entry).event
                        async with connection.transaction():
                            await _count_one(connection, item)
                        await stream.client.xack(stream.keys[0].events, "workers", entry.entry_id)

        await asyncio.gather(*(lane(f"lane-{number}") for number in range(LANES)))

    return await _measure(redis_url, postgres_url, events, work)


async def worker(redis_url: str, postgres_url: str, events: int) -> float:
    """Ours, with every guarantee."""

    async def work(stream: Stream, reader: Client, pool: postgres.Pool) -> None:
        handlers = engagement.handlers(EngagementSettings())
        policy, options = Policy(Schedule([1000], 0)), ConsumerSettings(concurrency=LANES)
        made = assemble(stream, reader, pool, handlers, policy, "bench", options, transaction_seconds=60)

        async def lane() -> None:
            while await made.run_once():
                pass

        await asyncio.gather(*(lane() for _ in range(LANES)))

    return await _measure(redis_url, postgres_url, events, work)


async def _count_one(connection: Connection, item: Event) -> None:
    cursor = await connection.execute(
        "INSERT INTO events (source, provider_event_id, event_type, occurred_at, received_at, delivery_id, outcome, payload) "
        "VALUES (%s, %s, %s, %s, %s, %s, 'applied', %s::jsonb) ON CONFLICT DO NOTHING",
        [
            item.source,
            item.provider_event_id,
            item.event_type,
            item.occurred_at,
            item.received_at,
            item.delivery_id,
            item.payload.decode(),
        ],
    )
    if not cursor.rowcount:
        return
    cursor = await connection.execute(
        "SELECT e.campaign_id FROM enrollments e JOIN campaigns c USING (campaign_id) "
        "WHERE e.refs ->> 'lemlist' = %s AND c.refs ->> 'lemlist' = %s",
        [item.data["leadId"], item.data["campaignId"]],
    )
    row = await cursor.fetchone()
    assert row is not None
    await connection.execute(
        "INSERT INTO campaign_metrics VALUES (%s, 'opened', 1) "
        "ON CONFLICT (campaign_id, event_type) DO UPDATE SET count = campaign_metrics.count + 1",
        [row[0]],
    )


async def _measure(
    redis_url: str,
    postgres_url: str,
    events: int,
    work: Callable[[Stream, Client, postgres.Pool], Awaitable[None]],
) -> float:
    client = connect(redis_url, timeout_seconds=30)
    reader = connect(redis_url, timeout_seconds=30, block_seconds=1)
    prefix = f"bench-{secrets.token_hex(4)}"
    stream = Stream(client, prefix=prefix, shards=1)
    async with postgres.pool(postgres_url, PostgresSettings(), "bench") as pool:
        async with pool.connection() as connection:
            await _prepare(connection)
        items = [appendable(_opened(number)) for number in range(events)]
        for at in range(0, events, 500):
            await stream.append(0, items[at : at + 500])
        await stream.ensure_group(0)
        started = time.perf_counter()
        await work(stream, reader, pool)
        rate = events / (time.perf_counter() - started)
        async with pool.connection() as connection:
            cursor = await connection.execute("SELECT sum(count) FROM campaign_metrics")
            row = await cursor.fetchone()
            if row is None or row[0] != events:
                raise ResponseError(f"counted {row} of {events}: this way of working is not worth timing")
    async for key in client.scan_iter(match=f"{prefix}*"):
        await client.unlink(key)
    await client.aclose()
    await reader.aclose()
    return rate


def _opened(number: int) -> Event:
    enrollment = number % ENROLLMENTS
    body = {
        "_id": f"act_{number}",
        "type": "emailsOpened",
        "campaignId": f"cam_{enrollment % CAMPAIGNS}",
        "leadId": f"lea_{enrollment}",
        "subject": "Quick question",
    }
    return event(
        f"act_{number}",
        source="lemlist",
        provider="lemlist",
        event_type="emailsOpened",
        payload=json.dumps(body).encode(),
    )


async def _prepare(connection: Connection) -> None:
    await connection.execute("TRUNCATE events, campaign_metrics, enrollments, campaigns")
    await connection.execute(
        "INSERT INTO campaigns SELECT 'c-' || n, '', jsonb_build_object('lemlist', 'cam_' || n), now() "
        "FROM generate_series(0, %s) n",
        [CAMPAIGNS - 1],
    )
    await connection.execute(
        "INSERT INTO enrollments SELECT 'e-' || n, 'c-' || n %% %s, '', jsonb_build_object('lemlist', 'lea_' || n), "
        "'active', now(), now() FROM generate_series(0, %s) n",
        [CAMPAIGNS, ENROLLMENTS - 1],
    )


WAYS: dict[str, Measure] = {
    "a transaction an event, then XACK": an_event_at_a_time,
    "tidegate: a transaction a batch, every guarantee": worker,
}
