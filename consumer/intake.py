"""Where a worker's batches come from: entries taken over from others first, then what an answer lost, then new ones."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from redis.exceptions import ResponseError

from tidegate.stream import UNAVAILABLE, Client, Stream
from tidegate.telemetry import logs, metrics
from tidegate.wire import Entry

log = logs.get(__name__)

BATCH_BYTES_MAX = 16 * 1024 * 1024
"""Of one transaction: what Postgres stores well within statement_timeout, and a process holds several times."""


class Intake:
    """Reads for one consumer, and knows what it holds: that is what its lease must be renewed for.

    ``reader`` is a client of its own: BLOCK holds a connection.
    """

    def __init__(self, stream: Stream, reader: Client, consumer: str, *, batch: int, block_ms: int) -> None:
        self.stream = stream
        self.consumer = consumer
        self._reader = reader
        self._batch = batch
        self._block_ms = block_ms
        self._waiting: deque[Entry] = deque()
        self._in_hand: dict[int, set[bytes]] = {shard: set() for shard in range(len(stream.keys))}
        self.closed = False
        """Set by a worker that stops: nothing more is taken over from others."""
        self._own_unread = True  # a name used before may have left something; so may any answer that is lost
        self._turn = asyncio.Lock()

    async def next(self, *, block: bool = True) -> list[Entry]:
        """Return the next batch, marked as in hand; empty when there was none for ``block_ms``.

        Raises redis-py's errors. After any error, or when cancelled, what the lost answer may have carried is read again.
        """
        async with self._turn:  # two reads under way could not tell a lost answer from one that is still coming
            return await self._next(block=block)

    async def _next(self, *, block: bool) -> list[Entry]:
        if not self._waiting and self._own_unread:
            await self._recover()
        if self._waiting:
            return self._take()
        try:
            entries = await self.stream.read(
                self._reader, self.consumer, count=self._batch, block_ms=self._block_ms if block else None
            )
        except ResponseError as error:
            if str(error).startswith("NOGROUP"):
                metrics.REDIS_ERRORS.labels("nogroup").inc()
                await self.make_groups()
                return []
            self._own_unread = True
            raise
        except BaseException:  # cancelled, too: the answer may have carried entries
            self._own_unread = True
            raise
        self.add(entries)  # a read brings up to a batch of every shard
        return self._take()

    def _take(self) -> list[Entry]:
        taken: list[Entry] = []
        size = 0
        while self._waiting and len(taken) < self._batch:
            size += sum(map(len, self._waiting[0].fields))
            if taken and size > BATCH_BYTES_MAX:
                break
            taken.append(self._waiting.popleft())
        return taken

    async def make_groups(self) -> None:
        """Make the group on every shard that lost it, or never had it."""
        for shard in range(len(self.stream.keys)):
            if await self.stream.ensure_group(shard):
                log.info("consumer group made", shard=shard)

    async def _recover(self) -> None:
        self._own_unread = False  # first: a batch that fails to settle meanwhile sets it again
        before = {shard: set(held) for shard, held in self._in_hand.items()}
        try:
            own = await self.stream.read_own(self._reader, self.consumer, count=self._batch)
        except ResponseError as error:
            self._own_unread = True
            if not str(error).startswith("NOGROUP"):
                raise
            await self.make_groups()
            return
        except BaseException:
            self._own_unread = True
            raise
        # What was in hand when we asked is being worked on, or was settled since.
        self.add([entry for entry in own if entry.entry_id not in before[entry.shard]])

    def add(self, entries: Sequence[Entry]) -> None:
        """Take in entries that are pending for us by another way than a read: claimed, or found in our own list."""
        new = [entry for entry in entries if entry.entry_id not in self._in_hand[entry.shard]]
        self._hold(new)
        self._waiting.extend(new)

    def _hold(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._in_hand[entry.shard].add(entry.entry_id)

    def done(self, entries: Sequence[Entry], *, settled: bool) -> None:
        """Let go of ``entries``. Unless they were ``settled`` they are still pending for us, and will be read again."""
        for entry in entries:
            self._in_hand[entry.shard].discard(entry.entry_id)
        if not settled:
            self._own_unread = True

    def held(self, shard: int) -> list[bytes]:
        """Return the ids in hand on ``shard``, being applied or waiting for it."""
        return list(self._in_hand[shard])

    @property
    def waiting(self) -> int:
        """How many entries are in hand that no lane works on yet."""
        return len(self._waiting)

    async def leave(self, *, idle_ms: int) -> int:
        """Hand back all that is still pending for us and retire the consumer; return how many were handed back."""
        handed = 0
        self._waiting.clear()
        for shard in range(len(self.stream.keys)):
            try:
                pending = await self.stream.pending_of(shard, self.consumer)
                if pending:
                    handed += await self.stream.hand_back(shard, self.consumer, pending, idle_ms=idle_ms)
                await self.stream.retire(shard, self.consumer)
            except (*UNAVAILABLE, ResponseError) as error:
                # Nothing is lost: the lease runs out and another worker claims.
                log.warning("could not hand back", shard=shard, error=str(error))
                break
        return handed
