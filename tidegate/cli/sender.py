"""Posting signed requests as a provider would: again after a 429, a 503 or a lost connection, and never after a 4xx."""

from __future__ import annotations

import asyncio
import io
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from ingest import adapters
from ingest.adapters.base import Adapter
from tidegate.cli.traffic import Post
from tidegate.settings import Settings

LARGE_BYTES = 1_000_000


class BusyError(Exception):
    """The gate asked to come back later."""


class Sender:
    """Posts to one gate, ``concurrency`` requests at once, and keeps its own record of the answers."""

    def __init__(
        self, gate_url: str, settings: Settings, *, concurrency: int = 32, patience_seconds: float = 60
    ) -> None:
        self.answers: Counter[int] = Counter()
        self.accepted = 0
        self.duplicates = 0
        self._gate_url = gate_url
        self._patience_seconds = patience_seconds
        self._turn = asyncio.Semaphore(concurrency)
        self._adapters = _adapters(settings)

    async def send(self, posts: Iterable[Post], sent: Callable[[Post], None] = lambda post: None) -> None:
        """Post all; ``sent`` is called after each answer."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            for post in posts:
                await self._turn.acquire()
                task = group.create_task(self._post(session, post, sent))
                task.add_done_callback(lambda _: self._turn.release())

    async def _post(self, session: aiohttp.ClientSession, post: Post, sent: Callable[[Post], None]) -> None:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((aiohttp.ClientError, TimeoutError, BusyError)),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            stop=stop_after_delay(self._patience_seconds),
            reraise=True,
        ):
            with attempt:
                status, answer = await self._once(session, post)
        self.answers[status] += 1
        if status == 202:
            self.accepted += int(answer["accepted"])
            self.duplicates += int(answer["duplicates"])
        sent(post)

    async def _once(self, session: aiohttp.ClientSession, post: Post) -> tuple[int, Mapping[str, int]]:
        url = f"{self._gate_url}/webhooks/{post.source}"
        adapter = self._adapters[post.source, post.version if post.source == "hubspot" else ""]
        headers, body = adapter.sign(post.body, url=url, now_seconds=time.time(), message_id=post.message_id)
        if post.forged:
            headers, body = _forge(headers, body)
        data = body if len(body) < LARGE_BYTES else io.BytesIO(body)  # aiohttp sends large bytes in one blocking write
        async with session.post(url, data=data, headers=headers, timeout=aiohttp.ClientTimeout(20)) as answer:
            if answer.status in (429, 503):
                raise BusyError(answer.status)
            return answer.status, await answer.json(content_type=None)


def _adapters(settings: Settings) -> dict[tuple[str, str], Adapter]:
    found: dict[tuple[str, str], Adapter] = {}
    for name, source in settings.sources.items():
        secrets = source.read_secrets(name)
        if source.provider == "hubspot":
            for version in ("v1", "v2", "v3"):
                found[name, version] = adapters.build(source.provider, secrets, options={"sign": version})
        else:
            found[name, ""] = adapters.build(source.provider, secrets)
    return found


def _forge(headers: list[tuple[str, str]], body: bytes) -> tuple[list[tuple[str, str]], bytes]:
    """Return the request as somebody without the secret would send it."""
    forged = [(name, value[:-6] + "AAAAA=" if "signature" in name.lower() else value) for name, value in headers]
    return forged, body.replace(b'"secret":"', b'"secret":"not-')
