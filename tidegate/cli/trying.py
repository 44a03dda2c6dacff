"""One event of a source, posted and followed to its end: `tidegate sources test`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tenacity import AsyncRetrying, RetryError, retry_if_result, stop_after_delay, wait_exponential

from dlq import audit, events, readable
from ingest.adapters.base import Parsed
from ingest.source import Source
from tidegate import ledger
from tidegate.cli import declarations, harmless, payloads, posting
from tidegate.cli.context import opened_postgres
from tidegate.cli.harmless import TEST_TYPE
from tidegate.cli.payloads import Payload
from tidegate.cli.posting import Answer, Signed
from tidegate.errors import UsageError
from tidegate.postgres import Connection
from tidegate.settings import Settings
from tidegate.stream import NOBODY, UNAVAILABLE, Pauses, Stream, connect

IDLE_SECONDS = 10.0
"""A worker asks for work about once a second."""


@dataclass(frozen=True, slots=True)
class End:
    """How it ended; ``text`` for a person."""

    good: bool
    text: str


class Trial:
    """One try of ``source``, told on ``console`` as it goes."""

    def __init__(self, settings: Settings, source: Source, console: Console) -> None:
        self._settings = settings
        self._source = source
        self._console = console

    async def run(self, url: str | None, timeout_seconds: float, event_type: str | None = None) -> bool:
        """Post and follow; return whether the event was applied, ignored or known already.

        It is of type TEST_TYPE, unless ``event_type`` asks for a sample as the provider sends it. Raises UsageError where
        there is no sample that can be one, UnreachableError when the gate, or Postgres, does not answer.
        """
        provider = self._source.adapter.provider
        signed, names = self._made(event_type, url)
        if event_type is not None:
            self._say(
                "mind", f"{event_type} is a type of {provider}'s: a handler that wants it counts this one", "yellow"
            )
        async with opened_postgres(self._settings, "tidegate sources test") as connection:
            self._say(
                "posting", f"{event_type or TEST_TYPE} as {provider} to {self._source.adapter.masked(signed.url)}"
            )
            started = time.monotonic()
            answer = await posting.post(signed, timeout_seconds=timeout_seconds, redirects=False)
            end = _refused(answer) if not answer.accepted else _known(answer)
            if end is not None and not end.good:
                self._say("gate", end.text, "red")
                if hint := await self._hint(answer):
                    self._say("", hint)
                return False
            self._say("gate", _accepted(answer), "green")
            if end is None:
                end = await self._follow(connection, names, answer, started, timeout_seconds)
            self._say("worker", end.text, "green" if end.good else "red")
            return end.good

    def _made(self, event_type: str | None, url: str | None) -> tuple[Signed, list[str]]:
        """Return the request, and the ids of its events."""
        words = declarations.of_source(self._source.name, self._settings)
        payload: Payload | None = payloads.sample(words, event_type=event_type)
        if payload is not None and event_type is None:
            self._signed(payload, url)  # that nobody but the provider can sign is no fault of the type
            payload = harmless.retyped(words, payload, words.samples[0].type, self._splits)
        if payload is None:
            types = ", ".join(dict.fromkeys(sample.type for sample in words.samples))
            raise UsageError(
                f"a sample of {self._source.adapter.provider} cannot be made one of a type that nobody counts: choose one with "
                f"--type, and a handler that wants it counts it ({types})"
            )
        signed = self._signed(payload, url)
        return signed, [parsed.provider_event_id for parsed in self._source.adapter.split(signed.request)]

    def _splits(self, payload: Payload) -> list[Parsed]:
        return self._source.adapter.split(self._signed(payload, None).request)

    def _signed(self, payload: Payload, url: str | None) -> Signed:
        return posting.sign(self._source, payload.body, self._settings, url=url, headers=payload.headers)

    def _say(self, who: str, text: str, style: str = "") -> None:
        line = Table.grid(padding=(0, 2))
        line.add_column(width=7, style="bold")
        line.add_column(overflow="fold")
        line.add_row(who, Text(readable.visible(text), style=style))
        self._console.print(line)

    async def _hint(self, answer: Answer) -> str:
        name = self._source.name
        if answer.status == 401:
            return f"`tidegate rejects --source {name}` tells precisely why"
        if answer.status == 404:
            return f"does that gate have the settings of this machine, and was it started since {name} is in them?"
        stream = self._stream()
        try:
            pause = (await Pauses(stream.client, self._settings.stream.prefix).load()).get(name)
        except (*UNAVAILABLE, RedisError):
            return ""
        finally:
            await stream.client.aclose()
        return "" if pause is None else f"{name} is paused: `tidegate sources resume {name}` lets it go on"

    async def _follow(
        self, connection: Connection, names: Sequence[str], answer: Answer, started: float, timeout_seconds: float
    ) -> End:
        """Return how the event ended, or that it still waits after ``timeout_seconds``."""
        ids = _ids(answer)

        async def look() -> str | None:
            found = await events.find(connection, self._source.name, names[0])
            return None if found is None else _outcome(found, ids)

        looking: AsyncRetrying = AsyncRetrying(
            retry=retry_if_result(lambda outcome: outcome is None),
            wait=wait_exponential(multiplier=0.01, max=0.25),
            stop=stop_after_delay(timeout_seconds),
        )
        try:
            with self._console.status("waiting for a worker ..."):
                outcome: str | None = await looking(look)
        except RetryError:
            return End(False, f"still waiting after {timeout_seconds:g} s: {await self._why(_durability(answer))}")
        after = f"after {readable.duration((time.monotonic() - started) * 1000)}"
        if outcome == "ignored":
            return End(True, f"ignored {after}: no handler wants its type, which is fine for a test")
        if outcome in ("applied", "duplicate"):
            return End(True, f"{outcome} {after}")
        return End(False, f"{outcome} ({after}; see `tidegate dlq list --source {self._source.name}`)")

    def _stream(self) -> Stream:
        client = connect(self._settings.require_redis(), timeout_seconds=self._settings.stream.timeout_seconds)
        return Stream.of(client, self._settings.stream)

    async def _why(self, durability: str | None) -> str:
        """Return what there is to say of an event that still waits."""
        if durability == "postgres":
            return "Redis was away, so it is in the inbox, and goes on when Redis is back"
        stream = self._stream()
        name = self._source.name
        try:
            pause = (await Pauses(stream.client, self._settings.stream.prefix).load()).get(name)
            if pause is not None and pause.mode == "hold":
                return f"{name} is on hold (`tidegate sources resume {name}` lets it go on)"
            if not await _workers(stream):
                return "is a worker running? (tidegate consume)"
            balance = ledger.total(await audit.shards(stream))
        except (*UNAVAILABLE, RedisError):
            return "Redis does not answer; it goes on when it does"
        finally:
            await stream.client.aclose()
        return f"a worker is there; {balance.waiting:,} wait on the stream, {balance.retrying:,} for a retry"


async def _workers(stream: Stream) -> bool:
    """Tell whether somebody asked for work lately."""
    with suppress(RedisError):  # no group yet: no worker ever was
        for shard in range(len(stream.keys)):
            for consumer in await stream.consumers(shard):
                if consumer["name"].decode("utf-8", "replace") != NOBODY and consumer["idle"] < IDLE_SECONDS * 1000:
                    return True
    return False


def _durability(answer: Answer) -> str | None:
    return next((value for name, value in answer.headers.items() if name.lower() == "tidegate-durability"), None)


def _accepted(answer: Answer) -> str:
    where = _durability(answer)
    return f"{answer.status}: accepted{f' on {where}' if where else ''} in {_ms(answer)}"


def _refused(answer: Answer) -> End:
    wait = next((value for name, value in answer.headers.items() if name.lower() == "retry-after"), None)
    again = f"; come back in {wait} s" if wait else ""
    return End(False, f"{answer.status} {answer.reason}{_detail(answer)} in {_ms(answer)}{again}")


def _ms(answer: Answer) -> str:
    return readable.duration(answer.seconds * 1000)


def _detail(answer: Answer) -> str:
    """Return what the problem document in ``answer`` says, beyond its status."""
    with suppress(ValueError, AttributeError):
        problem = json.loads(answer.text)
        told = problem.get("detail") or problem.get("title")
        if told:
            return f": {told}"
    return ""


def _known(answer: Answer) -> End | None:
    """Return how an event ended that the gate has seen before: somebody repeated our request, a proxy maybe."""
    with suppress(ValueError, AttributeError):
        body = json.loads(answer.text)
        if body.get("duplicates") and not body.get("accepted"):
            return End(True, "duplicate: the gate had seen it before")
    return None


def _ids(answer: Answer) -> list[str]:
    """Return the delivery ids in ``answer``; none for a provider that is answered in its own way."""
    with suppress(ValueError, AttributeError, TypeError):
        return [str(found) for found in json.loads(answer.text).get("ids", ())]
    return []


def _outcome(found: events.Found, ids: Sequence[str]) -> str | None:
    """Return how our delivery ended, a letter with its reason; None when it is on its way."""
    if found.record is not None:
        ours = not ids or str(found.record.delivery_id) in ids
        return found.record.outcome if ours else "duplicate"
    for letter in found.letters:
        if not ids or str(letter.delivery_id) in ids:
            return f"a letter, {letter.reason}: {letter.error}"
    return None
