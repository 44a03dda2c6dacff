"""The providers: they post signed events, each again until it is accepted, and remember what was."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from ingest import adapters
from ingest.adapters.base import Adapter, Request
from tests.chaos.feed import Fate, fate
from tidegate.cli.traffic import Post
from tidegate.settings import Settings

Identity = tuple[str, str]
ANSWER_SECONDS = 4.0
"""More than the gate may take, for both tiers one after the other."""
IMPATIENT_SHARE = 0.003
IMPATIENT_SECONDS = 0.003
"""A few hang up before the answer can have come: they cannot know whether they were heard."""


class NotAcceptedError(Exception):
    """Any answer but 202."""


class Provider:
    """Posts to gates, whichever, ``concurrency`` requests at once; sends no more than it is allowed to so far."""

    def __init__(self, gate_urls: Sequence[str], settings: Settings, *, seed: int, concurrency: int = 64) -> None:
        self.accepted: dict[Identity, Fate] = {}
        """Every event that some 202 stood for, and how it must end."""
        self.answers: Counter[str] = Counter()
        """By status, or the name of the exception where there was none."""
        self.tiers: Counter[str] = Counter()
        """202s by who kept the events."""
        self.odd: Counter[str] = Counter()
        """Answers that lack what they should say."""
        self.broken: Counter[str] = Counter()
        """Connections that were refused, or broken off by the other side, by gate."""
        self.first = 0
        """Deliveries that a 202 called new; less than the events when an answer was lost."""
        self.repeated = 0
        """Deliveries that a 202 called known."""
        self.answered = 0
        """Posts answered with 202."""
        self.events = 0
        self.unknown: set[int] = set()
        """Posts whose outcome is not known: the connection broke, and no 202 has come since."""
        self._gates = list(gate_urls)
        self._settings = settings
        self._adapters = _adapters(settings)
        self._chance = random.Random(seed)
        self._concurrency = concurrency
        self._allowed = 0
        self._more = asyncio.Event()

    def allow(self, posts: int) -> None:
        """Let it send the first ``posts`` of all."""
        self._allowed = max(self._allowed, posts)
        self._more.set()

    async def send(self, posts: Sequence[Post]) -> None:
        """Send ``posts`` as far as allowed, and return when each was accepted."""
        turn = asyncio.Semaphore(self._concurrency)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            for number, post in enumerate(posts):
                while number >= self._allowed:
                    self._more.clear()
                    await self._more.wait()
                await turn.acquire()
                task = group.create_task(self._post(session, number, post))
                task.add_done_callback(lambda _: turn.release())

    async def _post(self, session: aiohttp.ClientSession, number: int, post: Post) -> None:
        def failed(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            if not isinstance(error, NotAcceptedError):
                self.unknown.add(number)
                self.answers[type(error).__name__] += 1

        limit = IMPATIENT_SECONDS if self._chance.random() < IMPATIENT_SHARE else ANSWER_SECONDS
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((aiohttp.ClientError, OSError, TimeoutError, NotAcceptedError)),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            before_sleep=failed,
        ):
            with attempt:
                await self._once(session, post, limit if attempt.retry_state.attempt_number == 1 else ANSWER_SECONDS)
        self.unknown.discard(number)
        self.answered += 1
        self.events += post.events

    async def _once(self, session: aiohttp.ClientSession, post: Post, limit_seconds: float) -> None:
        path = f"/webhooks/{post.source}"
        # HubSpot signs the URL it was given, whichever gate it then reaches.
        signed_url = self._settings.sources[post.source].public_url or self._gates[0] + path
        adapter = self._adapters[post.source, post.version if post.source == "hubspot" else ""]
        headers, body = adapter.sign(post.body, url=signed_url, now_seconds=time.time(), message_id=post.message_id)
        gate = self._chance.choice(self._gates)
        timeout = aiohttp.ClientTimeout(limit_seconds)
        try:
            async with session.post(gate + path, data=body, headers=headers, timeout=timeout) as answer:
                told = await answer.json(content_type=None)
        except aiohttp.ClientConnectionError as error:
            self.broken[gate] += not isinstance(error, TimeoutError)
            raise
        self.answers[str(answer.status)] += 1
        if answer.status == 503 and int(answer.headers.get("Retry-After", 0)) < 1:
            self.odd["503 without Retry-After"] += 1
        if answer.status != 202:
            raise NotAcceptedError(answer.status)
        self.tiers[answer.headers.get("Tidegate-Durability", "nobody")] += 1
        self.first += int(told["accepted"])
        self.repeated += int(told["duplicates"])
        lowered = [(name.lower(), value) for name, value in headers]
        for parsed in adapter.split(Request("POST", signed_url, lowered, body)):
            self.accepted[post.source, parsed.provider_event_id] = fate(parsed)


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
