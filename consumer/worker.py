"""The worker: read a batch, apply it in one transaction, settle it in one call; again.

States of a batch: read -> committed -> settled. Dying between two of them is safe: the entries stay pending, are claimed
by another worker, and are recognised in Postgres by their delivery ids.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from redis.exceptions import RedisError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from consumer import suspicion
from consumer.committing import Committer
from consumer.intake import Intake
from consumer.outage import Outage
from consumer.outcome import Outcome
from consumer.part import Part
from consumer.reading import read
from consumer.settling import Settler
from consumer.suspicion import Suspicion
from consumer.turnstile import Turnstile
from tidegate.settings import ConsumerSettings
from tidegate.stream import UNAVAILABLE
from tidegate.telemetry import logs, metrics
from tidegate.wire import Entry

log = logs.get(__name__)

CANCEL_SECONDS = 15.0
"""How long a cancelled batch may take to roll back: psycopg tells the server, and waits for its word."""


class Worker:
    """``concurrency`` lanes over one intake. `run` until told to stop, or `run_once` for one batch."""

    def __init__(self, intake: Intake, committer: Committer, settler: Settler, options: ConsumerSettings) -> None:
        self.intake = intake
        self.committer = committer
        self.settler = settler
        self.redis = Outage("Redis", options.reconnect_seconds)
        self.stuck: set[asyncio.Task[None]] = set()
        """Lanes that did not end although they were cancelled: only the end of the process ends them."""
        self.options = options
        self._turnstile = Turnstile()
        self._stopping = asyncio.Event()
        self._idle_lanes: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Read and claim no more; let `run` finish what is in work."""
        self._stopping.set()
        self.intake.closed = True
        for lane in self._idle_lanes:  # between batches: what a cancelled read carried stays pending and is handed back
            lane.cancel()

    async def run(self) -> None:
        """Work until `stop`; then hand back what was not started, finish what was within ``drain_seconds``, undo the rest.

        Raises UnreachableError when Redis or Postgres stays away longer than ``reconnect_seconds``.
        """
        lanes = {asyncio.create_task(self._lane(), name=f"lane-{number}") for number in range(self.options.concurrency)}
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({stopped, *lanes}, return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            await self._hand_back_waiting()
            _, late = await asyncio.wait(lanes, timeout=self.options.drain_seconds)
            if late:
                log.warning("batches did not finish in time; handing them back", lanes=len(late))
        finally:
            stopped.cancel()
            self.committer.give_up.set()
            for lane in lanes:
                lane.cancel()
            ended, self.stuck = await asyncio.wait(lanes, timeout=CANCEL_SECONDS)
        for lane in ended:
            if not lane.cancelled() and (error := lane.exception()) is not None:
                raise error

    async def _hand_back_waiting(self) -> None:
        """What no lane has started on need not wait until those that have are done."""
        try:
            async with asyncio.timeout(self.options.handback_seconds):
                await self.intake.close()
                handed = await self.intake.give_back()
        except (*UNAVAILABLE, RedisError) as error:
            log.warning("could not hand back what was not started; it is taken over later", error=str(error))
        else:
            if handed:
                log.info("handed back what was not started", count=handed)

    async def _lane(self) -> None:
        me = asyncio.current_task()
        assert me is not None
        while not self._stopping.is_set():
            self._idle_lanes.add(me)
            try:
                await self.committer.breaker.closed()  # new entries are for those who can apply them
                entries = await self._next()
            except asyncio.CancelledError:
                if self._stopping.is_set():
                    return
                raise
            finally:
                self._idle_lanes.discard(me)
            if entries:
                await self.work(entries)

    async def _next(self) -> list[Entry]:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, (*UNAVAILABLE, RedisError))),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            before_sleep=self._redis_failed,
        ):
            with attempt:
                entries = await self.intake.next()
        self.redis.end()
        return entries

    def _redis_failed(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None:
            metrics.REDIS_ERRORS.labels(metrics.redis_error_kind(error)).inc()
            self.redis.begin(error)

    async def run_once(self) -> Counter[Outcome]:
        """Read what is there without waiting, apply and settle it; return how many had which outcome."""
        entries = await self.intake.next(block=False)
        return await self.work(entries) if entries else Counter()

    async def work(self, entries: Sequence[Entry]) -> Counter[Outcome]:
        """Apply and settle ``entries``; return how many had which outcome.

        When Redis stays away the entries remain pending for us: they are read again, and recognised.
        """
        settled = False
        started = time.monotonic()
        try:
            if suspicion.of(entries[0].deliveries, self.options.deliveries_max) is Suspicion.SUSPECT:
                async with self._turnstile.alone():
                    outcomes = await self._try_alone(entries)
            else:
                async with self._turnstile.together():
                    outcomes = await self._work(entries)
            settled = True
            self.redis.end()
        except (*UNAVAILABLE, RedisError) as error:
            metrics.REDIS_ERRORS.labels(metrics.redis_error_kind(error)).inc()
            self.redis.begin(error)
            return Counter()
        finally:
            self.intake.done(entries, settled=settled)
        log.info(
            "batch settled",
            ms=round((time.monotonic() - started) * 1000),
            **{outcome.value: count for outcome, count in outcomes.items()},
        )
        return outcomes

    async def _work(self, entries: Sequence[Entry]) -> Counter[Outcome]:
        found = [read(entry) for entry in entries]
        options = self.options
        part = Part.of(found, batch_seconds=options.batch_seconds, deliveries_max=options.deliveries_max)
        applied = await self.committer.commit(part)
        metrics.BATCH_SIZE.observe(len(entries))
        return await self.settler.settle(found, applied)

    async def _try_alone(self, entries: Sequence[Entry]) -> Counter[Outcome]:
        """Try one that was in the hands of workers that died, with nothing beside it that could be blamed or harmed.

        Its count is raised first: if this process dies now, the next worker knows that it was being tried.
        """
        (entry,) = entries
        log.warning(
            "an entry whose workers died is tried alone",
            entry=entry.entry_id,
            shard=entry.shard,
            deliveries=entry.deliveries,
        )
        stream, count = self.intake.stream, entry.deliveries + 1
        if not await stream.on_trial(entry.shard, self.intake.consumer, entry.entry_id, deliveries=count):
            return Counter()  # claimed by another meanwhile
        return await self._work(entries)
