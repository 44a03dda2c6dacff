"""Where a worker's batches come from: entries taken over from others, what an answer lost, and new ones."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from redis.exceptions import ResponseError

from consumer import suspicion
from consumer.holding import Holding
from consumer.pace import Pace
from consumer.suspicion import Suspicion
from tidegate.settings import ConsumerSettings
from tidegate.stream import Client, Stream, is_nogroup
from tidegate.telemetry import logs, metrics
from tidegate.wire import Entry

log = logs.get(__name__)


HANDED_BACK_IDLE_MS = 86_400_000
"""How idle an entry looks that was handed back: more than any worker's lease."""


class Intake:
    """Reads for one consumer, and knows what it holds: that is what its lease must be renewed for.

    ``reader`` is a client of its own: BLOCK holds a connection. While ``paused`` says so nothing is taken in.
    """

    def __init__(
        self,
        stream: Stream,
        reader: Client,
        consumer: str,
        pace: Pace,
        options: ConsumerSettings,
        *,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        self.stream = stream
        self.consumer = consumer
        self.pace = pace
        self._options = options
        self._paused = paused
        self.holding = Holding(len(stream.keys))
        self.closed = False
        """Set by a worker that stops: nothing more is read, nor taken over from others."""
        self._reader = reader
        self._waiting: deque[Entry] = deque()
        self._arrived = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        shards = range(len(stream.keys))
        self._unread: dict[int, bytes] = dict.fromkeys(shards, b"")
        """Shards with entries pending for us that we may not have seen (a lost answer), and the id looked up to so far."""
        self._busy = deque(shards)
        """Shards whose last read brought as much as was asked for: there is more, and no need to wait for it."""

    async def next(self, *, block: bool = True) -> list[Entry]:
        """Return the next batch, in hand from now on; empty when there was none for ``block_ms``.

        Raises redis-py's errors. After any error, or when cancelled, what the lost answer may have carried is read again.
        """
        async with self._turn:  # two reads under way could not tell a lost answer from one that is still coming
            try:
                await self._fill(block=block)
            except ResponseError as error:
                if not is_nogroup(error):
                    raise
                metrics.REDIS_ERRORS.labels("nogroup").inc()
                await self.make_groups()
            return self._take()

    async def _fill(self, *, block: bool) -> None:
        await self._recover()
        if not block:
            self._busy = deque(range(len(self.stream.keys)))  # nobody will wait on the others
        await self._fetch()
        if block and not self._waiting:
            await self._wait()
            await self._linger()
            await self._fetch()

    def _take(self) -> list[Entry]:
        taken: list[Entry] = []
        size = 0
        while self._waiting and len(taken) < self.pace.count:
            entry = self._waiting[0]
            size += entry.bytes_count
            if taken and (size > self._options.batch_bytes or self.suspicion(entry) is not self.suspicion(taken[0])):
                break
            taken.append(self._waiting.popleft())
        return taken

    def suspicion(self, entry: Entry) -> Suspicion:
        """Return what the deliveries of ``entry`` say about it; a batch is all of one kind."""
        return suspicion.of(entry.deliveries, self._options.deliveries_max)

    @property
    def room(self) -> int:
        """How many more entries may wait here for a lane: none while they could not be applied, others may be able to."""
        if self.closed or self._paused() or self.bytes_free <= 0:
            return 0
        return max(0, self.pace.count + self._options.prefetch - len(self._waiting))

    @property
    def bytes_free(self) -> int:
        """How many bytes more may be in hand; below 0 when a last delivery was large."""
        return self._options.held_bytes - self.holding.bytes

    async def _fetch(self) -> None:
        """Read what is there without waiting: from each busy shard in turn, until there is no room."""
        for _ in range(len(self._busy)):
            room, free = self.room, min(self.bytes_free, self._options.batch_bytes)
            if not room:
                return
            shard = self._busy[0]
            with self.noting_lost_answers([shard]):
                entries = await self.stream.fetch(self._reader, shard, self.consumer, count=room, bytes_max=free)
                self.add(entries)
            self._busy.rotate(-1)
            if len(entries) < room and sum(entry.bytes_count for entry in entries) < free:
                self._busy.remove(shard)

    async def _wait(self) -> None:
        """Return when entries have arrived, by whatever way, or none have for ``block_ms``."""
        if not self.room:
            await self._until_freed()
            return
        if self._unread:
            return
        self._arrived.clear()
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        reading = self._reading
        arrived = asyncio.create_task(self._arrived.wait())
        try:
            await asyncio.wait({reading, arrived}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrived.cancel()
        if reading.done():
            self._reading = None
            reading.result()

    async def _until_freed(self) -> None:
        self.holding.freed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.block_ms / 1000):
                await self.holding.freed.wait()

    async def _read(self) -> None:
        """Wait on the server for a first entry. Outlives its caller, whom entries taken over may call away."""
        with self.noting_lost_answers(range(len(self.stream.keys))):
            # One of each shard: payloads may be large. What comes behind them is fetched by size.
            entries = await self.stream.read(self._reader, self.consumer, count=1, block_ms=self._options.block_ms)
            self.add(entries)
            self._busy.extend({entry.shard for entry in entries}.difference(self._busy))

    async def _linger(self) -> None:
        """Let a small batch fill while another is in work: beside it, it would cost as much and only be in its way."""
        if self._options.linger_ms and 0 < len(self._waiting) < min(len(self.holding), self.pace.count):
            await asyncio.sleep(self._options.linger_ms / 1000)

    async def _recover(self) -> None:
        """Read what is pending for us and not in hand, as far as there is room."""
        for shard in list(self._unread):
            while self.room and shard in self._unread:
                after = self._unread.pop(shard)  # first: a batch that fails to settle meanwhile sets it again
                before = set(self.holding.of(shard))
                free = min(self.bytes_free, self._options.batch_bytes)
                try:
                    own = await self.stream.own(
                        self._reader, shard, self.consumer, after=after, count=self.room, bytes_max=free
                    )
                except BaseException:
                    self._unread.setdefault(shard, after)
                    raise
                # What was in hand when we asked is being worked on, or was settled since.
                self.add(
                    replace(entry, deliveries=suspicion.while_alive(entry.deliveries))
                    for entry in own.entries
                    if entry.entry_id not in before
                )
                if own.cursor is not None:
                    self._unread.setdefault(shard, own.cursor)

    @contextmanager
    def noting_lost_answers(self, shards: Iterable[int]) -> Iterator[None]:
        """An answer that did not reach us, cancelled ones too, may have carried entries: they are pending for us."""
        try:
            yield
        except BaseException:
            self._unread |= dict.fromkeys(shards, b"")
            raise

    async def make_groups(self) -> None:
        """Make the group on every shard that lost it, or never had it."""
        for shard in range(len(self.stream.keys)):
            if await self.stream.ensure_group(shard):
                log.info("consumer group made", shard=shard)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take in entries that are pending for us: read, claimed, or found in our own list."""
        new = [entry for entry in entries if self.holding.add(entry)]
        self._waiting.extend(new)
        if new:
            self._arrived.set()

    def done(self, entries: Sequence[Entry], *, settled: bool) -> None:
        """Let go of ``entries``. Unless they were ``settled`` they are still pending for us, and will be read again."""
        self.holding.discard(entries)
        if not settled:
            self._unread |= dict.fromkeys((entry.shard for entry in entries), b"")
            self._arrived.set()

    def drop(self, shard: int, ids: Iterable[bytes]) -> None:
        """Forget what waits here and is no longer ours: we were away too long, and another worker took it over."""
        lost = set(ids)
        dropped = [entry for entry in self._waiting if entry.shard == shard and entry.entry_id in lost]
        self._waiting = deque(entry for entry in self._waiting if entry.shard != shard or entry.entry_id not in lost)
        self.holding.discard(dropped)

    async def on_trial(self, entry: Entry, deliveries: int) -> bool:
        """Set how often ``entry`` counts as delivered; return whether it is still ours."""
        try:
            return await self.stream.on_trial(entry.shard, self.consumer, entry.entry_id, deliveries=deliveries)
        except ResponseError as error:
            if not is_nogroup(error):
                raise
            await self.make_groups()
            return False

    async def close(self) -> None:
        """Read no more."""
        self.closed = True
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None

    async def give_back(self) -> int:
        """Hand back what no lane works on: what waits here, and what a cancelled read carried; return how many."""
        waiting, self._waiting = self._waiting, deque()
        self.holding.discard(waiting)
        handed = 0
        for shard in range(len(self.stream.keys)):
            in_work = set(self.holding.of(shard))
            idle = [found for found in await self.stream.pending_of(shard, self.consumer) if found not in in_work]
            if idle:
                handed += await self.stream.hand_back(shard, self.consumer, idle, idle_ms=HANDED_BACK_IDLE_MS)
        return handed

    async def leave(self) -> int:
        """Hand back all that is still pending for us and retire the consumer; return how many were handed back.

        Raises redis-py's errors: nothing is lost, the lease runs out and another worker claims.
        """
        self._waiting.clear()
        self.holding.clear()
        handed = await self.give_back()
        for shard in range(len(self.stream.keys)):
            await self.stream.retire(shard, self.consumer)
        return handed
