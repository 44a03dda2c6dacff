"""The streams of one deployment: what may be done to a delivery on Redis, and nothing else may.

Every method is one Lua move (or one read) on one shard. Moves are safe to send twice, so they are: when the answer is
lost the same call is repeated, for at most ``repeat_seconds`` (so a call that took that long is not).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol, TypeVar, cast

from redis.exceptions import BusyLoadingError, ReadOnlyError, ResponseError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from tidegate.settings import StreamSettings
from tidegate.stream.client import UNAVAILABLE, Client
from tidegate.stream.keys import GROUP, NOBODY, Keys, event_digest, replay_digest, shard_of
from tidegate.wire import Entry

REPLAYED_SECONDS = 180 * 86_400
"""How long a replay is remembered: a letter may be `replaying` for as long as its delivery waits for retries."""

T = TypeVar("T")


class Script(Protocol):
    """A registered Lua script, as redis-py makes it."""

    def __call__(self, keys: Sequence[Any], args: Sequence[Any]) -> Awaitable[Any]: ...


class BacklogFullError(Exception):
    """The gate must not accept more: ``backlog`` entries wait on both streams of a shard."""

    def __init__(self, backlog: int) -> None:
        super().__init__(f"{backlog} entries wait")
        self.backlog = backlog


@dataclass(frozen=True, slots=True)
class Appendable:
    """One event on its way to the stream, already in wire form."""

    source: str
    provider_event_id: str
    meta: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Settlement:
    """What becomes of one entry. ``meta``, ``delay_ms`` and ``waiting_for`` only count for the outcome ``retry``."""

    entry_id: bytes
    outcome: str
    source: str
    meta: bytes = b""
    delay_ms: int = 0
    waiting_for: str | None = None


@dataclass(frozen=True, slots=True)
class Stuck:
    """A pending entry nobody renewed: who holds it, for how long, and how often it was delivered."""

    entry_id: bytes
    consumer: str
    idle_ms: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class ShardState:
    """One shard at one instant. ``ledger`` maps ``(count, source)`` to a number; ages are None when empty."""

    shard: int
    ledger: dict[tuple[str, str], int]
    events: int
    retry: int
    pending: int
    due: int
    oldest_event_age_ms: int | None
    oldest_retry_age_ms: int | None


class Stream:
    """Moves and reads over ``shards`` shards named under ``prefix``."""

    def __init__(
        self,
        client: Client,
        *,
        prefix: str,
        shards: int,
        seen_seconds: int = 86_400,
        waiting_ttl_seconds: int = 86_400,
        repeat_seconds: float = 5.0,
    ) -> None:
        self.client = client
        self.keys = [Keys(prefix, shard) for shard in range(shards)]
        self._seen_seconds = seen_seconds
        self._waiting_ttl_seconds = waiting_ttl_seconds
        self._repeat_seconds = repeat_seconds
        self._scripts: dict[str, Script] = {
            path.name.removesuffix(".lua"): cast(Script, client.register_script(path.read_text()))
            for path in resources.files("tidegate.stream").joinpath("lua").iterdir()
            if path.name.endswith(".lua")
        }

    @classmethod
    def of(cls, client: Client, settings: StreamSettings, *, waiting_ttl_seconds: int = 86_400) -> Stream:
        """Return the streams ``settings`` describe."""
        return cls(
            client,
            prefix=settings.prefix,
            shards=settings.shards,
            seen_seconds=settings.seen_seconds,
            waiting_ttl_seconds=waiting_ttl_seconds,
            repeat_seconds=settings.timeout_seconds,
        )

    def shard_of(self, source: str, provider_event_id: str) -> int:
        """Return the shard an event belongs to."""
        return shard_of(source, provider_event_id, len(self.keys))

    async def _move(self, name: str, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        script = self._scripts[name]
        return await self._repeat(lambda: script(keys=keys, args=args))

    async def _repeat(self, call: Callable[[], Awaitable[T]]) -> T:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((*UNAVAILABLE, BusyLoadingError, ReadOnlyError)),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            stop=stop_after_delay(self._repeat_seconds),
            reraise=True,
        ):
            with attempt:
                return await call()
        raise AssertionError("tenacity returns or raises")

    async def _grouped(self, shard: int, call: Callable[[], Awaitable[T]]) -> T:
        """Call, and once more after making the group when a flush or a fail-over took it away."""
        try:
            return await call()
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
        await self.ensure_group(shard)
        return await call()

    async def ensure_group(self, shard: int) -> bool:
        """Make the consumer group from the first entry on; return whether it was missing.

        From ``0`` and never ``$``: what the gate accepted before the first worker came must not be skipped.
        """
        try:
            await self._repeat(lambda: self.client.xgroup_create(self.keys[shard].events, GROUP, id="0", mkstream=True))
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
            return False
        return True

    def _seen(self, keys: Keys) -> tuple[str, str]:
        # Two buckets of half the window each: an event is remembered for at least half of it, at most all of it.
        bucket = int(time.time() / max(self._seen_seconds / 2, 1))
        return keys.seen(bucket), keys.seen(bucket - 1)

    async def append(self, shard: int, items: Sequence[Appendable], *, backlog_max: int = 0) -> list[bool]:
        """Append what was not seen before; return for each item whether it was new.

        Raises BacklogFullError when nothing was done for lack of room, or redis-py's error when Redis did not answer.
        """
        keys = self.keys[shard]
        args: list[Any] = [backlog_max, self._seen_seconds]
        for item in items:
            args += (
                event_digest(item.source, item.provider_event_id),
                item.source,
                item.provider_event_id,
                item.meta,
                item.payload,
            )
        answer = await self._move("append", [keys.events, keys.retry, keys.ledger, *self._seen(keys)], args)
        if answer[0] == 0:
            raise BacklogFullError(answer[1])
        return [flag == 1 for flag in answer[1:]]

    async def replay(self, shard: int, items: Sequence[tuple[Appendable, bytes, int]]) -> list[bool]:
        """Append letters past the early dedupe; an item is (event, delivery id as bytes, number of this replay)."""
        keys = self.keys[shard]
        args: list[Any] = [REPLAYED_SECONDS]
        bucket = int(time.time() / (REPLAYED_SECONDS / 2))
        remembered = keys.replayed(bucket), keys.replayed(bucket - 1)
        for item, delivery_id, replay in items:
            digest = replay_digest(delivery_id, replay)
            args += (digest, item.source, item.provider_event_id, item.meta, item.payload)
        answer = await self._move("replay", [keys.events, keys.ledger, *remembered], args)
        return [flag == 1 for flag in answer]

    async def read(
        self,
        reader: Client,
        consumer: str,
        *,
        count: int,
        block_ms: int | None,
        shards: Iterable[int] | None = None,
    ) -> list[Entry]:
        """Read up to ``count`` new entries a shard on ``reader``, a client of its own since BLOCK holds its connection.

        Raises ResponseError NOGROUP when a group is gone; redis-py's errors when Redis is.
        """
        return await self._read(reader, consumer, ">", count, block_ms, shards)

    async def read_own(self, reader: Client, consumer: str, *, count: int) -> list[Entry]:
        """Read all that is pending for ``consumer`` already, ``count`` at a time: what a lost answer had delivered to it.

        Entries whose content somebody deleted are acknowledged and left out: nothing is left of them to apply.
        """
        found: list[Entry] = []
        for shard, keys in enumerate(self.keys):
            after = "0"
            while True:
                page = await self._read(reader, consumer, after, count, None, [shard])
                gone = [entry.entry_id for entry in page if not entry.fields]
                if gone:
                    await reader.xack(keys.events, GROUP, *gone)
                found += [entry for entry in page if entry.fields]
                if len(page) < count:
                    break
                after = page[-1].entry_id.decode()
        return found

    async def _read(
        self,
        reader: Client,
        consumer: str,
        start: str,
        count: int,
        block_ms: int | None,
        shards: Iterable[int] | None,
    ) -> list[Entry]:
        names = [self.keys[shard].events for shard in (range(len(self.keys)) if shards is None else shards)]
        block = () if block_ms is None else ("BLOCK", block_ms)
        reply = await _command(
            reader,
            "XREADGROUP",
            "GROUP",
            GROUP,
            consumer,
            "COUNT",
            count,
            *block,
            "STREAMS",
            *names,
            *[start] * len(names),
        )
        entries: list[Entry] = []
        for name, found in reply or ():
            shard = int(name.decode().rsplit("{", 1)[1].split("}", 1)[0])
            entries += [Entry(shard, entry_id, fields or ()) for entry_id, fields in found]
        return entries

    async def settle(self, shard: int, settlements: Sequence[Settlement]) -> tuple[int, int]:
        """Move each entry to its place; return (moved by this call, retries whose entry had vanished)."""
        keys = self.keys[shard]
        names = [keys.events, keys.retry, keys.due, keys.ledger]
        index: dict[str, int] = {}
        args: list[Any] = [GROUP, self._waiting_ttl_seconds]
        for item in settlements:
            position = 0
            if item.waiting_for is not None:
                name = keys.waiting(item.waiting_for)
                if name not in index:
                    names.append(name)
                    index[name] = len(names)
                position = index[name]
            args += (item.entry_id, item.outcome, item.source, item.meta, item.delay_ms, position)
        settled, vanished = await self._grouped(shard, lambda: self._move("settle", names, args))
        return settled, vanished

    async def reenter(self, shard: int, *, count: int) -> tuple[int, int | None, int]:
        """Move due retries back; return (moved, Unix ms of the next one or None, due ids whose entry had vanished)."""
        keys = self.keys[shard]
        names = [keys.events, keys.retry, keys.due, keys.waiting_prefix]
        moved, next_ms, vanished = await self._move("reenter", names, [count])
        return moved, None if next_ms < 0 else next_ms, vanished

    async def release(self, parents: Iterable[str]) -> int:
        """Make the orphans of ``parents`` due now, on every shard; return how many were waiting."""
        released = 0
        for parent in parents:
            for keys in self.keys:
                while True:
                    taken = await self._move("release", [keys.waiting(parent), keys.due], [1000])
                    released += taken
                    if taken < 1000:
                        break
        return released

    async def stuck(self, shard: int, *, idle_ms: int, count: int, after: bytes = b"-") -> list[Stuck]:
        """Return up to ``count`` entries pending for ``idle_ms`` or longer, after the id ``after`` (``-``: from the first)."""
        start = after if after == b"-" else b"(" + after
        reply = await self._repeat(
            lambda: _command(
                self.client, "XPENDING", self.keys[shard].events, GROUP, "IDLE", idle_ms, start, "+", count
            )
        )
        return [
            Stuck(entry_id, consumer.decode("utf-8", "replace"), idle, deliveries)
            for entry_id, consumer, idle, deliveries in reply or ()
        ]

    async def pending_of(self, shard: int, consumer: str) -> list[bytes]:
        """Return the ids of everything pending for ``consumer``."""
        found: list[bytes] = []
        start = b"-"
        while True:
            rows = await _command(self.client, "XPENDING", self.keys[shard].events, GROUP, start, "+", 1000, consumer)
            found += [row[0] for row in rows or ()]
            if len(rows or ()) < 1000:
                return found
            start = b"(" + found[-1]

    async def claim(self, shard: int, consumer: str, ids: Sequence[bytes], *, idle_ms: int) -> list[Entry]:
        """Take over ``ids`` still idle for ``idle_ms``, in one XCLAIM; return the entries that are now ours.

        A pending entry whose content somebody deleted cannot be claimed: Redis 6.2 answers nil, later versions forget
        it by themselves. Either way nothing is left of it to apply.
        """
        key = self.keys[shard].events
        reply = await _command(self.client, "XCLAIM", key, GROUP, consumer, idle_ms, *ids)
        return [Entry(shard, row[0], row[1]) for row in reply or () if row and row[1] is not None]

    async def beat(self, shard: int, consumer: str, ids: Sequence[bytes]) -> list[bytes]:
        """Renew the lease of ``ids``; return those that are no longer this consumer's."""
        return cast(list[bytes], await self._move("beat", [self.keys[shard].events], [GROUP, consumer, *ids]))

    async def hand_back(self, shard: int, consumer: str, ids: Sequence[bytes], *, idle_ms: int) -> int:
        """Give ``ids`` up so that they look idle for ``idle_ms`` to the next sweep; return how many were still ours."""
        args = [GROUP, consumer, NOBODY, idle_ms, *ids]
        return cast(int, await self._move("handback", [self.keys[shard].events], args))

    async def retire(self, shard: int, consumer: str) -> bool:
        """Forget ``consumer`` unless entries are pending for it; return whether it is gone."""
        return cast(int, await self._move("retire", [self.keys[shard].events], [GROUP, consumer])) == 1

    async def consumers(self, shard: int) -> list[dict[str, Any]]:
        """Return XINFO CONSUMERS as dictionaries (name, pending, idle, and inactive from Redis 7.2 on)."""
        found: list[dict[str, Any]] = await self.client.xinfo_consumers(self.keys[shard].events, GROUP)
        return found

    async def audit(self, shard: int) -> ShardState:
        """Return one consistent look at ``shard``."""
        keys = self.keys[shard]
        ledger, events, retry, pending, due, oldest_event, oldest_retry, now_ms = await self._move(
            "audit", [keys.events, keys.retry, keys.due, keys.ledger], [GROUP]
        )
        counts: dict[tuple[str, str], int] = {}
        for name, value in zip(ledger[::2], ledger[1::2], strict=True):
            count, _, source = name.decode().partition(":")
            counts[count, source] = int(value)
        return ShardState(
            shard, counts, events, retry, pending, due, _age(oldest_event, now_ms), _age(oldest_retry, now_ms)
        )


async def _command(client: Client, *parts: Any) -> Any:
    """Send a command whose reply is wanted as it is."""
    return await client.execute_command(*parts)  # type: ignore[no-untyped-call]


def _age(entry_id: bytes, now_ms: int) -> int | None:
    return max(0, now_ms - int(entry_id.split(b"-")[0])) if entry_id else None
