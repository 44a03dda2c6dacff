"""The first tier: events appended to the streams in Redis, one call in flight a shard.

One append is one Lua call and, with `appendfsync always`, one fsync.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from redis.exceptions import RedisError

from ingest.fuse import Fuse
from ingest.group_commit import GroupCommit, NotDurableError, OverloadedError, anew
from tidegate.stream import UNAVAILABLE, Appendable, BacklogFullError, Stream, is_out_of_memory
from tidegate.telemetry import metrics


class Appender:
    """Appends within ``append_seconds``, or blows the fuse.

    ``full`` is told how many entries wait on a shard that has no room for more.
    """

    def __init__(
        self,
        stream: Stream,
        fuse: Fuse,
        *,
        backlog_max: int,
        events_max: int,
        append_seconds: float,
        full: Callable[[int | None], None] = lambda backlog: None,
    ) -> None:
        self._stream = stream
        self._fuse = fuse
        self._backlog_max = backlog_max
        self._append_seconds = append_seconds
        self._full = full
        self._shards = [
            GroupCommit(self._to(shard), events_max=events_max, wait_seconds=append_seconds, is_open=fuse.is_whole)
            for shard in range(len(stream.keys))
        ]

    async def append(self, items: Sequence[Appendable]) -> list[bool]:
        """Return for each item whether it was new, once Redis has all of them.

        Raises OverloadedError or NotDurableError; then some may be on a stream all the same, and the same items sent again
        are recognised as seen.
        """
        by_shard: dict[int, list[int]] = {}
        for position, item in enumerate(items):
            by_shard.setdefault(self._stream.shard_of(item.source, item.provider_event_id), []).append(position)
        answers = await asyncio.gather(
            *(self._shards[shard].submit([items[at] for at in positions]) for shard, positions in by_shard.items()),
            return_exceptions=True,
        )
        new = [False] * len(items)
        for positions, answer in zip(by_shard.values(), answers, strict=True):
            if isinstance(answer, BaseException):
                raise anew(answer)
            for position, flag in zip(positions, answer, strict=True):
                new[position] = flag
        return new

    async def drain(self) -> None:
        """Return when nothing is in flight."""
        await asyncio.gather(*(shard.drain() for shard in self._shards))

    def _to(self, shard: int) -> Callable[[Sequence[Appendable]], Awaitable[list[bool]]]:
        async def commit(items: Sequence[Appendable]) -> list[bool]:
            try:
                async with asyncio.timeout(self._append_seconds):
                    return await self._stream.append(shard, items, backlog_max=self._backlog_max)
            except BacklogFullError as error:
                self._full(error.backlog)
                raise OverloadedError("the backlog is full") from None
            except (*UNAVAILABLE, RedisError) as error:
                metrics.REDIS_ERRORS.labels(metrics.redis_error_kind(error)).inc()
                if is_out_of_memory(error):
                    # More would not be durable elsewhere either: what the inbox took would have to go here in the end.
                    self._full(None)
                    raise OverloadedError("Redis has no memory left") from None
                self._fuse.blow(error)
                raise NotDurableError(str(error) or type(error).__name__) from None

        return commit
