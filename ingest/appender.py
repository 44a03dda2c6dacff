"""Group commit: requests that arrive while one append is under way share the next.

One append is one Lua call and, with `appendfsync always`, one fsync: the busier the gate, the more events each pays for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from redis.exceptions import RedisError

from tidegate.stream import UNAVAILABLE, Appendable, BacklogFullError, Stream
from tidegate.telemetry import metrics

BYTES_MAX = 4 * 1024 * 1024
"""Payload bytes in one append: Redis serves nobody else meanwhile."""
PENDING_BYTES_MAX = 64 * 1024 * 1024
"""Payload bytes of one process waiting for an answer: what a gate may grow by while Redis is slow."""


class OverloadedError(Exception):
    """There is no room for more: too much waits, here or on the stream."""


class NotDurableError(Exception):
    """Redis did not take the events, or took them and did not say so: sending them again is safe."""


@dataclass(slots=True)
class _Part:
    items: Sequence[Appendable]
    size: int
    answer: asyncio.Future[list[bool]]


class Appender:
    """Appends to every shard, one call in flight each."""

    def __init__(self, stream: Stream, *, backlog_max: int, pending_max: int, events_max: int) -> None:
        self._stream = stream
        self._backlog_max = backlog_max
        self._pending_max = pending_max
        self._events_max = events_max
        self._queues: list[deque[_Part]] = [deque() for _ in stream.keys]
        self._flushing: list[asyncio.Task[None] | None] = [None for _ in stream.keys]
        self._pending = 0
        self._pending_bytes = 0

    async def append(self, items: Sequence[Appendable]) -> list[bool]:
        """Return for each item whether it was new, once Redis has all of them.

        Raises OverloadedError or NotDurableError; then some may be on a stream all the same, and the same items sent again
        are recognised as seen.
        """
        size = sum(len(item.payload) for item in items)
        if self._pending + len(items) > self._pending_max or self._pending_bytes + size > PENDING_BYTES_MAX:
            raise OverloadedError
        by_shard: dict[int, list[int]] = {}
        for position, item in enumerate(items):
            by_shard.setdefault(self._stream.shard_of(item.source, item.provider_event_id), []).append(position)
        loop = asyncio.get_running_loop()
        parts: list[tuple[list[int], _Part]] = []
        for shard, positions in by_shard.items():
            some = [items[position] for position in positions]
            part = _Part(some, sum(len(item.payload) for item in some), loop.create_future())
            parts.append((positions, part))
            self._queues[shard].append(part)
            self._pending += len(some)
            self._pending_bytes += part.size
            if self._flushing[shard] is None:
                self._flushing[shard] = asyncio.create_task(self._flush(shard))
        answers = await asyncio.gather(*(part.answer for _, part in parts), return_exceptions=True)
        new = [False] * len(items)
        for (positions, _), answer in zip(parts, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            for position, flag in zip(positions, answer, strict=True):
                new[position] = flag
        return new

    async def _flush(self, shard: int) -> None:
        queue = self._queues[shard]
        try:
            while queue:
                parts = [queue.popleft()]
                count, size = len(parts[0].items), parts[0].size
                while queue and count + len(queue[0].items) <= self._events_max and size + queue[0].size <= BYTES_MAX:
                    part = queue.popleft()
                    parts.append(part)
                    count += len(part.items)
                    size += part.size
                await self._append(shard, parts)
                self._pending -= count
                self._pending_bytes -= size
        finally:
            self._flushing[shard] = None

    async def _append(self, shard: int, parts: Sequence[_Part]) -> None:
        items = [item for part in parts for item in part.items]
        failure: Exception
        try:
            flags = await self._stream.append(shard, items, backlog_max=self._backlog_max)
        except BacklogFullError:
            failure = OverloadedError()
        except (*UNAVAILABLE, RedisError) as error:
            metrics.REDIS_ERRORS.labels(metrics.redis_error_kind(error)).inc()
            failure = NotDurableError(str(error))
        except Exception as error:  # nobody may wait for ever because of a mistake of ours
            failure = error
        else:
            at = 0
            for part in parts:
                if not part.answer.done():  # else the client has gone; the events stay
                    part.answer.set_result(flags[at : at + len(part.items)])
                at += len(part.items)
            return
        for part in parts:
            if not part.answer.done():
                part.answer.set_exception(failure)

    async def drain(self) -> None:
        """Return when nothing is in flight."""
        await asyncio.gather(*(task for task in self._flushing if task is not None), return_exceptions=True)
