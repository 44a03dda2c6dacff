"""The worker: read a batch, apply it in one transaction, settle it in one call; again.

States of a batch: read -> committed -> settled. Dying between two of them is safe: the entries stay pending, are claimed
by another worker, and are recognised in Postgres by their delivery ids.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from redis.exceptions import RedisError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_when_event_set,
    wait_random_exponential,
)

from consumer import parking, suspicion
from consumer.apply import Applied
from consumer.committing import Committer
from consumer.intake import Intake
from consumer.outage import Outage
from consumer.outcome import Outcome
from consumer.part import Part
from consumer.pausing import Pausing
from consumer.reading import read
from consumer.settling import Settler
from consumer.suspicion import Suspicion
from consumer.turnstile import Turnstile
from tidegate.settings import ConsumerSettings
from tidegate.stream import UNAVAILABLE
from tidegate.telemetry import logs, metrics
from tidegate.wire import Entry

log = logs.get(__name__)
T = TypeVar("T")

CANCEL_SECONDS = 15.0
"""How long a cancelled batch may take to roll back: psycopg tells the server, and waits for its word."""


class Worker:
    """``concurrency`` lanes over one intake. `run` until told to stop, or `run_once` for one batch."""

    def __init__(
        self, intake: Intake, committer: Committer, settler: Settler, pausing: Pausing, options: ConsumerSettings
    ) -> None:
        self.intake = intake
        self.committer = committer
        self.settler = settler
        self.pausing = pausing
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
            if lane.cancelled() or (error := lane.exception()) is None:
                continue
            if lane not in late:
                raise error
            log.info("undone", lane=lane.get_name(), error=str(error).partition("\n")[0])

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
                await self.committer.ready()  # new entries are for those who can apply them
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
        return await self._persist(self.intake.next)

    async def _persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until Redis does it; raise UnreachableError when it is of no use for too long, or what it said at the end."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((*UNAVAILABLE, RedisError)),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            stop=stop_when_event_set(self.committer.give_up),  # type: ignore[arg-type]
            before_sleep=self._redis_failed,
            reraise=True,
        ):
            with attempt:
                result = await call()
        self.redis.end()
        return result

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
        """Apply and settle ``entries``, which are all of one suspicion; return how many had which outcome."""
        settled = False
        try:
            if self.intake.suspicion(entries[0]) is Suspicion.SUSPECT:
                async with self._turnstile.alone():
                    outcomes: Counter[Outcome] = Counter()
                    for entry in entries:
                        outcomes += await self._try_alone(entry)
            else:
                async with self._turnstile.together():
                    outcomes = await self._work(entries)
            settled = True
        finally:
            self.intake.done(entries, settled=settled)
        return outcomes

    async def _work(self, entries: Sequence[Entry]) -> Counter[Outcome]:
        options = self.options
        whole = Part([read(entry) for entry in entries], options.batch_seconds, options.deliveries_max)
        total: Counter[Outcome] = Counter()
        async for part, applied in self.committer.commit(whole):
            started = time.monotonic()
            try:
                outcomes = await self._settle(part, applied)
            finally:
                self.pausing.parked(applied.held)
            self.intake.done([item.entry for item in part.read], settled=True)
            metrics.BATCH_SIZE.observe(len(part.read))
            log.info(
                "batch settled",
                settle_ms=round((time.monotonic() - started) * 1000),
                **{outcome.value: count for outcome, count in outcomes.items()},
            )
            total += outcomes
        return total

    async def _settle(self, part: Part, applied: Applied) -> Counter[Outcome]:
        # With what was committed in hand: to read it again would run the transaction, and its handlers, once more.
        return await self._persist(lambda: self.settler.settle(part.read, applied))

    async def _try_alone(self, entry: Entry) -> Counter[Outcome]:
        """Try one that was in the hands of workers that died, with nothing beside it that could be blamed or harmed.

        Its count is raised first: if this process dies now, the next worker knows that it was being tried.
        """
        if parking.is_held(read(entry), self.pausing.held):
            return await self._work([entry])  # which parks it
        await self.committer.breaker.enter()  # before its count is raised: to wait for Postgres is no trial
        count = suspicion.on_trial(entry.deliveries)
        log.warning(
            "an entry whose workers died is tried alone", entry=entry.entry_id, shard=entry.shard, deliveries=count
        )
        try:
            ours = await self._persist(lambda: self.intake.on_trial(entry, count))
        except BaseException:
            self.committer.breaker.left()
            raise
        if not ours:
            self.committer.breaker.left()
            return Counter()  # claimed by another meanwhile
        return await self._work([entry])
