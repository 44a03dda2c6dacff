"""What keeps the streams moving beside the batches: due retries, leases, what dead workers left, consumers that are gone.

Every worker does all of it, at times of its own: each step is atomic on the server, so two at once are merely one too many.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from redis.exceptions import RedisError

from consumer.intake import Intake
from dlq import letters
from tidegate import ledger
from tidegate.postgres import Pool
from tidegate.stream import NOBODY, UNAVAILABLE, Stream
from tidegate.telemetry import logs, metrics

log = logs.get(__name__)

REENTER_MAX = 500
"""Entries moved by one call: it holds Redis meanwhile."""
REENTER_EVERY_SECONDS = 0.25
GONE_IDLE_MS = 3_600_000
"""A consumer with nothing pending and no sign for an hour is forgotten; were it alive, its next read would make it anew."""


class Upkeep:
    """The background services of one worker: `run` them all, or each once."""

    def __init__(self, stream: Stream, intake: Intake, pool: Pool, *, lease_seconds: float, batch: int) -> None:
        self.stream = stream
        self.intake = intake
        self.pool = pool
        self._lease_ms = int(lease_seconds * 1000)
        self._batch = batch
        self._next_due_ms: dict[int, int | None] = {}

    async def run(self) -> None:
        """Run until cancelled. An error of Redis is the intake's to report; the next turn comes anyway."""
        third = self._lease_ms / 3000
        async with asyncio.TaskGroup() as group:
            group.create_task(self._forever(self.reenter, REENTER_EVERY_SECONDS))
            group.create_task(self._forever(self.beat, third))
            group.create_task(self._forever(self.sweep, third))
            group.create_task(self._forever(self.retire, 60.0))
            group.create_task(self._forever(self.measure, 5.0))

    @staticmethod
    async def _forever(step: Callable[[], Awaitable[object]], every_seconds: float) -> None:
        while True:
            try:
                await step()
            except (*UNAVAILABLE, RedisError) as error:
                metrics.REDIS_ERRORS.labels(metrics.redis_error_kind(error)).inc()
            except Exception:
                log.exception("upkeep failed; it goes on", step=getattr(step, "__name__", "?"))
            # Jitter: workers started together must not sweep together.
            await asyncio.sleep(every_seconds * (0.75 + random.random() / 2))

    async def reenter(self) -> int:
        """Move every due retry back to its stream; return how many."""
        total = 0
        for shard in range(len(self.stream.keys)):
            while True:
                moved, _, vanished = await self.stream.reenter(shard, count=REENTER_MAX)
                total += moved
                if vanished:
                    log.error(
                        "retries had been deleted from the stream by another hand",
                        shard=shard,
                        count=vanished,
                    )
                if moved + vanished < REENTER_MAX:
                    break
        return total

    async def beat(self) -> int:
        """Renew the lease of what we hold; return how many of it others had taken."""
        lost = 0
        for shard in range(len(self.stream.keys)):
            held = self.intake.held(shard)
            for at in range(0, len(held), 500):
                lost += len(await self.stream.beat(shard, self.intake.consumer, held[at : at + 500]))
        return lost

    async def sweep(self) -> int:
        """Claim what nobody renewed for a lease; return how many entries are ours now."""
        total = 0
        for shard in range(len(self.stream.keys)) if not self.intake.closed else ():
            after = b"-"
            # What we cannot start soon would only wait in our hands: another worker may be free.
            while self.intake.waiting < self._batch:
                stuck = await self.stream.stuck(shard, idle_ms=self._lease_ms, count=self._batch, after=after)
                mine = set(self.intake.held(shard))
                ids = [item.entry_id for item in stuck if item.entry_id not in mine]
                if ids:
                    entries = await self.stream.claim(shard, self.intake.consumer, ids, idle_ms=self._lease_ms)
                    self.intake.add(entries)
                    total += len(entries)
                if len(stuck) < self._batch:
                    break
                after = stuck[-1].entry_id
        if total:
            metrics.CLAIMED.inc(total)
            log.info("took over entries nobody renewed", count=total)
        return total

    async def retire(self) -> int:
        """Forget consumers that left no trace for an hour; return how many."""
        total = 0
        for shard in range(len(self.stream.keys)):
            for consumer in await self.stream.consumers(shard):
                name = consumer["name"].decode("utf-8", "replace")
                if name in (NOBODY, self.intake.consumer) or consumer["pending"] or consumer["idle"] < GONE_IDLE_MS:
                    continue
                total += await self.stream.retire(shard, name)
        return total

    async def measure(self) -> Counter[str]:
        """Set the gauges of the streams, the ledger and the letters; return the backlog by queue."""
        backlog: Counter[str] = Counter()
        for shard in range(len(self.stream.keys)):
            state = await self.stream.audit(shard)
            for queue, length, age_ms in (
                ("events", state.events, state.oldest_event_age_ms),
                ("retry", state.retry, state.oldest_retry_age_ms),
            ):
                metrics.BACKLOG.labels(shard, queue).set(length)
                metrics.OLDEST_SECONDS.labels(shard, queue).set((age_ms or 0) / 1000)
                backlog[queue] += length
            metrics.UNACCOUNTED.labels(shard).set(ledger.shard_balance(state).unaccounted)
        with suppress(Exception):  # the worker's own batches report a Postgres that is away
            async with self.pool.connection() as connection:
                found = await letters.open_by_source(connection)
            counts: Counter[str] = Counter()
            for source, count in found.items():
                counts[metrics.source_label(source)] += count
            for source in {*metrics.sources(), *counts}:
                metrics.DEAD_LETTERS_OPEN.labels(source).set(counts[source])
        return backlog
