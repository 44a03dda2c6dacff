"""Events that die as often as a test wants, and the admin site over them on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import aiohttp
import pytest
import pytest_asyncio

from dlq import service
from dlq.access import Access
from dlq.desk import Desk
from tests.fixtures import Rig
from tidegate import Event, Reject
from tidegate.event import Delivery
from tidegate.postgres import Pool
from tidegate.serving import listen, server
from tidegate.stream import Stream

TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Mood:
    """What the handler does with every event: refuse it, until ``error`` is None."""

    error: Exception | None = Reject("not today")

    async def handle(self, item: Event, tx: Any) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture
def mood(rig: Rig) -> Mood:
    made = Mood()
    rig.handlers.on("*", "*")(made.handle)
    return made


Bury = Callable[..., Awaitable[list[UUID]]]


@pytest.fixture
def bury(rig: Rig, mood: Mood) -> Bury:
    """`await bury(*events)` lets each die, one after the other; returns the ids of their letters in that order."""

    async def letters(*items: Event | Delivery) -> list[UUID]:
        found: list[UUID] = []
        for item in items:
            held = item.event if isinstance(item, Delivery) else item
            await rig.send(item)
            await rig.drain()
            rows = await rig.rows("SELECT id FROM dead_letters WHERE delivery_id = %s", held.delivery_id)
            found += [row[0] for row in rows]
        assert len(found) == len(items)
        return found

    return letters


@asynccontextmanager
async def serving(stream: Stream, pool: Pool) -> AsyncIterator[str]:
    """Serve the admin site; yield its address."""
    listener = listen("127.0.0.1", 0)
    running = server(
        service.application(Desk(stream, pool), Access(TOKEN)), drain_seconds=1, trusted_proxies=service.PROXIES
    )
    task = asyncio.create_task(running.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        running.stop()
        await task


@pytest_asyncio.fixture
async def site(rig: Rig) -> AsyncIterator[str]:
    async with serving(rig.stream, rig.pool) as address:
        yield address


@pytest_asyncio.fixture
async def http(site: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that keeps cookies as a browser does, follows no redirect by itself, and bears no token."""
    jar = aiohttp.CookieJar(unsafe=True)  # unsafe: cookies of an address that is a number
    async with aiohttp.ClientSession(site, cookie_jar=jar) as session:
        yield session


@pytest_asyncio.fixture
async def api(site: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(site, headers=BEARER) as session:
        yield session
