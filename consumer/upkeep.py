"""What keeps the streams moving beside the batches: due retries, leases, what dead workers left, the inbox, resumed sources.

Every worker does all of it: each step is atomic on the server, so two at once are merely one too many. Only the sweep, which
walks over all that is pending, and the inbox, whose order is kept, are one worker's at a time.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import psycopg
from redis.exceptions import RedisError

from consumer import measuring
from consumer.complaint import Complaint
from consumer.intake import Intake
from consumer.pausing import LOOK_EVERY_SECONDS, Pausing
from consumer.unboxing import Unboxer
from tidegate.postgres import Kind, Pool, borrowed, classify
from tidegate.stream import NOBODY, UNAVAILABLE, Stream, Stuck
from tidegate.telemetry import logs, metrics

log = logs.get(__name__)

REENTER_MAX = 200
REENTER_BYTES_MAX = 2 * 1024 * 1024
"""Moved by one call, which holds Redis meanwhile: some 20 us each."""
REENTER_ROOM = 1000
"""Retries come back while fewer entries than this are on the stream: what arrives now must not queue behind a million of them."""
REENTER_FLOOR = 10
"""But as many as this come back in each turn: a stream that is never short must not hold them off for ever."""
REENTER_EVERY_SECONDS = 0.25
REENTER_AGAIN_SECONDS = 0.02
SWEEP_EVERY_SECONDS = 0.5
SWEEP_TURN_MS = 350
"""Shorter than the shortest pause between two sweeps of one worker, so that a lone worker never waits for itself."""
GONE_IDLE_MS = 3_600_000
"""A consumer with nothing pending and no sign for an hour is forgotten; were it alive, its next read would make it anew."""
MEASURE_SECONDS = 10.0
UNBOX_EVERY_SECONDS = 1.0
UNBOX_AGAIN_SECONDS = 0.0
"""Rows are left: the sooner they are on the stream, the fewer events of today overtake them."""


class Upkeep:
    """The background services of one worker: `run` them all, or each once."""

    def __init__(
        self,
        stream: Stream,
        intake: Intake,
        pool: Pool,
        pausing: Pausing,
        *,
        lease_seconds: float,
        deliveries_max: int,
    ) -> None:
        self.stream = stream
        self.intake = intake
        self.pool = pool
        self.pausing = pausing
        self._lease_ms = int(lease_seconds * 1000)
        self._deliveries_max = deliveries_max
        self._more_due = False
        self.unboxer = Unboxer(stream, pool)
        self._unmeasured = Complaint(
            "Postgres refuses us what is measured; nobody would learn that Redis lost its data"
        )

    async def run(self) -> None:
        """Run until cancelled. An error of Redis is the intake's to report; the next turn comes anyway."""
        third = self._lease_ms / 3000
        async with asyncio.TaskGroup() as group:
            group.create_task(self._forever(self.reenter, self._until_reenter))
            group.create_task(self._forever(self.unboxer.unbox, self._until_unbox))
            group.create_task(self._forever(self.beat, lambda: third))
            group.create_task(self._forever(self.sweep_in_turn, lambda: min(third, SWEEP_EVERY_SECONDS)))
            group.create_task(self._forever(self.pausing.look, lambda: LOOK_EVERY_SECONDS))
            group.create_task(self._forever(self.pausing.release, lambda: LOOK_EVERY_SECONDS / 4))
            group.create_task(self._forever(self.retire, lambda: 60.0))
            group.create_task(self._forever(self.measure, lambda: 5.0))

    @staticmethod
    async def _forever(step: Callable[[], Awaitable[object]], pause_seconds: Callable[[], float]) -> None:
        while True:
            try:
                await step()
            except (*UNAVAILABLE, RedisError) as error:
                metrics.REDIS_ERRORS.labels(metrics.redis_error_kind(error)).inc()
            except Exception:
                log.exception("upkeep failed; it goes on", step=getattr(step, "__name__", "?"))
            # Jitter: workers started together must not sweep together.
            await asyncio.sleep(pause_seconds() * (0.75 + random.random() / 2))

    def _until_reenter(self) -> float:
        return REENTER_AGAIN_SECONDS if self._more_due else REENTER_EVERY_SECONDS

    def _until_unbox(self) -> float:
        return UNBOX_AGAIN_SECONDS if self.unboxer.more else UNBOX_EVERY_SECONDS

    async def reenter(self) -> int:
        """Move due retries back to their stream, as far as it has room for them; return how many."""
        total = 0
        self._more_due = False
        for shard in range(len(self.stream.keys)):
            moved = await self.stream.reenter(
                shard, count=REENTER_MAX, room=REENTER_ROOM, floor=REENTER_FLOOR, bytes_max=REENTER_BYTES_MAX
            )
            total += moved.moved
            self._more_due |= moved.more
            _report(moved.lost, shard, "retry")
        return total

    async def beat(self) -> int:
        """Renew the lease of what we hold; return how many of it others had taken."""
        total = 0
        for shard in range(len(self.stream.keys)):
            held = self.intake.holding.of(shard)
            for at in range(0, len(held), 500):
                lost = await self.stream.beat(shard, self.intake.consumer, held[at : at + 500])
                self.intake.drop(shard, lost)
                total += len(lost)
        return total

    async def sweep_in_turn(self) -> int:
        """Sweep the shards whose turn is ours; return how many entries are ours now."""
        total = 0
        for shard in range(len(self.stream.keys)):
            if self.intake.room and await self.stream.turn(
                shard, "sweep", self.intake.consumer, ttl_ms=min(SWEEP_TURN_MS, self._lease_ms // 5 + 1)
            ):
                total += await self._sweep(shard)
        return total

    async def sweep(self) -> int:
        """Claim on every shard what nobody renewed for a lease; return how many entries are ours now."""
        return sum([await self._sweep(shard) for shard in range(len(self.stream.keys))])

    async def _sweep(self, shard: int) -> int:
        total = 0
        after = b"-"
        # What we cannot start soon would only wait in our hands: another worker may be free.
        while self.intake.room:
            count = min(self.intake.room, 500)
            stuck = await self.stream.stuck(shard, idle_ms=self._lease_ms, count=count, after=after)
            mine = set(self.intake.holding.of(shard))
            others = [item for item in stuck if item.entry_id not in mine]
            if others:
                total += await self._claim(shard, others)
            if len(stuck) < count:
                break
            after = stuck[-1].entry_id
        if total:
            metrics.CLAIMED.inc(total)
            log.info("took over entries nobody renewed", shard=shard, count=total)
        return total

    async def _claim(self, shard: int, stuck: list[Stuck]) -> int:
        with self.intake.noting_lost_answers([shard]):
            claimed = await self.stream.claim(
                shard,
                self.intake.consumer,
                stuck,
                idle_ms=self._lease_ms,
                bytes_max=self.intake.bytes_free,
                deliveries_max=self._deliveries_max,
            )
            self.intake.add(claimed.entries)
        _report(claimed.lost, shard, "events")
        return len(claimed.entries)

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
        """Set the gauges, remember how the shards are, mend what another hand broke; return the backlog by queue."""
        states = [await measuring.look(self.stream, shard) for shard in range(len(self.stream.keys))]
        for state in states:
            if state.retry > state.due and (mended := await self.stream.mend(state.shard)):
                log.error(
                    "retries without a due time: somebody deleted it; they are due now",
                    shard=state.shard,
                    count=mended,
                )
        try:
            async with borrowed(self.pool, MEASURE_SECONDS) as connection:
                await measuring.remember(connection, states)
                await measuring.measure_inbox(connection)
                await measuring.measure_letters(connection)
        except psycopg.Error as error:
            if classify(error) is not Kind.TRANSIENT:  # of a Postgres that is away the worker's own batches tell
                self._unmeasured.say(error)
        else:
            self._unmeasured.end()
        return Counter({"events": sum(state.events for state in states), "retry": sum(state.retry for state in states)})


def _report(lost: int, shard: int, queue: str) -> None:
    if lost:
        log.error(
            "entries had been deleted by another program: a letter stands for each",
            shard=shard,
            queue=queue,
            count=lost,
        )
