"""The inbox back to the streams: what the gates stored in Postgres while Redis was away.

One transaction a batch: take the turn, read the oldest rows, append them shard by shard, delete them, commit. Dying before the
commit leaves the rows where they are, and the next mover appends none of them again: the move knows each row it appended.
"""

from __future__ import annotations

import psycopg
from redis.exceptions import RedisError

from consumer.complaint import Complaint
from tidegate import inbox
from tidegate.inbox import Boxed
from tidegate.postgres import Kind, Pool, borrowed, classify
from tidegate.stream import UNAVAILABLE, Appendable, Stream
from tidegate.telemetry import logs, metrics

log = logs.get(__name__)

ROWS_MAX = 256
BYTES_MAX = 2 * 1024 * 1024
"""Of one batch: what Redis is held for by one call, and what is read again when somebody dies in the middle."""
BATCH_SECONDS = 50.0
"""Of one batch; shorter than Postgres lets the transaction idle, so that it is we who say that Redis was slow."""


class Unboxer:
    """Moves the inbox. Every worker has one; in the fleet one at a time works."""

    def __init__(self, stream: Stream, pool: Pool) -> None:
        self._stream = stream
        self._pool = pool
        self._moved = 0
        self._postgres = Complaint("Postgres refuses us the inbox; what lies there stays")
        self._redis = Complaint("Redis does not take the inbox; what lies there stays")
        self.more = False
        """The last batch brought something, so there may be more."""

    async def unbox(self) -> int:
        """Move a batch; return how many rows left the inbox. Raises redis-py's errors: the rows stay, call again later."""
        self.more = False
        try:
            moved = await self._unbox()
        except psycopg.Error as error:
            if classify(error) is not Kind.TRANSIENT:  # of a Postgres that is away the worker's own batches tell
                self._postgres.say(error)
            return 0
        except RedisError as error:
            if not isinstance(error, UNAVAILABLE):  # of a Redis that is away the intake tells
                self._redis.say(error)
            raise
        self._postgres.end()
        if moved:
            self._redis.end()
        self._report(moved)
        self.more = moved > 0
        return moved

    async def _unbox(self) -> int:
        async with borrowed(self._pool, BATCH_SECONDS) as connection:
            if await inbox.is_empty(connection) or not await inbox.take_turn(connection):
                return 0
            rows = await inbox.oldest(connection, count=ROWS_MAX, bytes_max=BYTES_MAX)
            if not rows:
                return 0
            await self._append(rows)
            return await inbox.remove(connection, [row.id for row in rows])

    async def _append(self, rows: list[Boxed]) -> None:
        by_shard: dict[int, list[Appendable]] = {}
        for row in rows:
            # As it is: a worker makes a letter of what it cannot read, and nothing waits behind it.
            shard = self._stream.shard_of(row.item.source, row.item.provider_event_id)
            by_shard.setdefault(shard, []).append(row.item)
        for shard, items in by_shard.items():
            await self._stream.unbox(shard, items)

    def _report(self, moved: int) -> None:
        metrics.INBOX_MOVED.inc(moved)
        self._moved += moved
        if self._moved and not moved:
            log.info("what waited in the inbox is on the streams", count=self._moved)
            self._moved = 0
