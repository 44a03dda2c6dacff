"""The worker: read a batch, apply it in one transaction, settle it in one call; again.

States of a batch: read -> committed -> settled. Dying between two of them is safe: the entries stay pending, are claimed
by another worker, and are recognised in Postgres by their delivery ids.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import psycopg
from redis.exceptions import RedisError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_when_event_set,
    wait_random_exponential,
)

from consumer import strangers
from consumer.apply import Applied, Applier, parents_of
from consumer.intake import Intake
from consumer.outage import Outage
from consumer.outcome import Decided, Outcome
from dlq.letters import Death
from tidegate.event import Delivery
from tidegate.postgres import Kind, Pool, classify
from tidegate.stream import UNAVAILABLE, Settlement, Stream
from tidegate.telemetry import logs, metrics
from tidegate.wire import Entry, Place, encode_meta

log = logs.get(__name__)


class Worker:
    """``concurrency`` lanes over one intake. `run` until told to stop, or `run_once` for one batch."""

    def __init__(
        self,
        stream: Stream,
        intake: Intake,
        pool: Pool,
        applier: Applier,
        *,
        concurrency: int = 2,
        drain_seconds: float = 30.0,
        reconnect_seconds: float = 300.0,
    ) -> None:
        self.stream = stream
        self.intake = intake
        self.pool = pool
        self.applier = applier
        self.redis = Outage("Redis", reconnect_seconds)
        self.postgres = Outage("Postgres", reconnect_seconds)
        self._turned_at: dict[asyncio.Task[None] | None, float] = {}
        self._concurrency = concurrency
        self._drain_seconds = drain_seconds
        self._stopping = asyncio.Event()
        self._give_up = asyncio.Event()
        self._idle_lanes: set[asyncio.Task[None]] = set()

    @property
    def still_seconds(self) -> float:
        """For how long the slowest lane has neither ended a read or a batch, nor repeated one."""
        now = time.monotonic()
        return max((now - at for at in self._turned_at.values()), default=0.0)

    def _turn(self) -> None:
        self._turned_at[asyncio.current_task()] = time.monotonic()

    def stop(self) -> None:
        """Read and claim no more; let `run` finish what is in work."""
        self._stopping.set()
        self.intake.closed = True
        for lane in self._idle_lanes:  # between batches: what a cancelled read carried stays pending and is handed back
            lane.cancel()

    async def run(self) -> None:
        """Work until `stop`; then finish the batches in work within ``drain_seconds`` and hand the rest back.

        Raises UnreachableError when Redis or Postgres stays away longer than ``reconnect_seconds``.
        """
        lanes = {asyncio.create_task(self._lane(), name=f"lane-{number}") for number in range(self._concurrency)}
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({stopped, *lanes}, return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            _, late = await asyncio.wait(lanes, timeout=self._drain_seconds)
            if late:
                log.warning("batches did not finish in time; handing them back", lanes=len(late))
                self._give_up.set()
        finally:
            stopped.cancel()
            for lane in lanes:
                lane.cancel()
            results = await asyncio.gather(*lanes, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _lane(self) -> None:
        me = asyncio.current_task()
        assert me is not None
        while not self._stopping.is_set():
            self._turn()
            self._idle_lanes.add(me)
            try:
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
        self._turn()
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
            deliveries, foreign = strangers.read(entries)
            applied = await self._apply(list(deliveries.values()), foreign, entries, deliveries)
            outcomes = await self._settle(entries, deliveries, foreign, applied)
            settled = True
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

    async def _apply(
        self,
        deliveries: Sequence[Delivery],
        foreign: Sequence[Death],
        entries: Sequence[Entry],
        by_entry: dict[Place, Delivery],
    ) -> Applied:
        """Commit the batch, however long Postgres is away; no attempt is consumed by its absence."""
        shard_of = {
            by_entry[entry.place].event.delivery_id: entry.shard for entry in entries if entry.place in by_entry
        }
        isolate = False
        timeouts = 0

        def again(error: BaseException) -> bool:
            nonlocal isolate, timeouts
            if isinstance(error, psycopg.errors.QueryCanceled):
                # Three times is no outage: some event's statement is too slow, and `isolate` finds out whose.
                timeouts += 1
                isolate = isolate or timeouts >= 3
            if _worth_repeating(error):
                return True
            # Refused at COMMIT, where no savepoint is left to tell which event it was: a deferred constraint or trigger.
            first, isolate = not isolate, True
            return first and isinstance(error, psycopg.Error)

        async for attempt in AsyncRetrying(
            retry=retry_if_exception(again),
            wait=wait_random_exponential(multiplier=0.1, max=10),
            stop=stop_when_event_set(self._give_up),  # type: ignore[arg-type]
            before_sleep=self._postgres_failed,
            reraise=True,
        ):
            with attempt:
                started = time.monotonic()
                async with self.pool.connection() as connection:
                    applied = await self.applier.apply(
                        connection, deliveries, foreign=foreign, shard_of=shard_of, isolate=isolate
                    )
                metrics.APPLY_SECONDS.observe(time.monotonic() - started)
        self.postgres.end()
        metrics.BATCH_SIZE.observe(len(entries))
        return applied

    def _postgres_failed(self, state: RetryCallState) -> None:
        self._turn()
        error = state.outcome.exception() if state.outcome else None
        if error is None or not _worth_repeating(error):
            return
        if str(getattr(error, "sqlstate", None) or "").startswith(("40", "55P03", "57014")):
            log.info("transaction repeated", error=str(error).partition("\n")[0])
            return  # two transactions met, or a statement was slow: Postgres is well
        systemic = classify(error) is Kind.SYSTEMIC
        self.postgres.begin(
            error, "refuses our statements: schema or rights are wrong" if systemic else "does not answer"
        )

    async def _settle(
        self,
        entries: Sequence[Entry],
        deliveries: dict[Place, Delivery],
        foreign: Sequence[Death],
        applied: Applied,
    ) -> Counter[Outcome]:
        by_shard: dict[int, list[Settlement]] = {}
        outcomes: Counter[Outcome] = Counter()
        now_ms = time.time_ns() // 1_000_000
        by_name = {death.delivery.event.provider_event_id: death for death in foreign}
        for entry in entries:
            delivery = deliveries.get(entry.place)
            if delivery is None:
                death = by_name[strangers.name_of(entry)]
                # What bears a version came through a gate and was counted there, whatever is wrong with it now.
                outcome = "dead" if b"v" in entry.fields[::2] else "foreign"
                settlement = Settlement(entry.entry_id, outcome, death.delivery.event.source)
                outcomes[Outcome.DEAD] += 1
                log.warning("an entry that is no delivery became a letter", entry=entry.entry_id, error=death.error)
            else:
                decided = applied.decided[delivery.event.delivery_id]
                settlement = _settlement(entry, decided)
                outcomes[decided.outcome] += 1
            by_shard.setdefault(entry.shard, []).append(settlement)
        vanished = 0
        for shard, settlements in by_shard.items():
            vanished += (await self.stream.settle(shard, settlements))[1]
        self.redis.end()
        for decided in applied.decided.values():
            _count(decided, now_ms)
        if vanished:
            log.error("entries to be retried had been deleted from the stream by another hand", count=vanished)
        released = set(applied.released)
        released |= await self._committed_meanwhile(parents_of(applied.decided.values()))
        if released:
            await self.stream.release(released)
        return outcomes

    async def _committed_meanwhile(self, parents: set[str]) -> set[str]:
        """Return those of ``parents`` that exist by now: one may have been committed before its orphan was parked."""
        found: set[str] = set()
        by_kind: dict[str, list[str]] = {}
        for parent in parents:
            by_kind.setdefault(parent.partition(":")[0], []).append(parent)
        for kind, names in by_kind.items():
            lookup = self.applier.handlers.parents.get(kind)
            if lookup is None:
                continue
            try:
                async with self.pool.connection() as connection:
                    found.update(await lookup(names, connection))
            except Exception as error:
                # The schedule is the backstop; an orphan that waits for it is late, not lost.
                log.warning("could not look for parents again", kind=kind, error=str(error))
        return found


def _worth_repeating(error: BaseException) -> bool:
    return isinstance(error, Exception) and classify(error) in (Kind.TRANSIENT, Kind.SYSTEMIC)


def _settlement(entry: Entry, decided: Decided) -> Settlement:
    source = decided.delivery.event.source
    if decided.outcome is not Outcome.RETRY:
        return Settlement(entry.entry_id, decided.outcome.value, source)
    meta = encode_meta(decided.delivery)
    return Settlement(entry.entry_id, "retry", source, meta, decided.delay_ms, decided.waiting_for)


def _count(decided: Decided, now_ms: int) -> None:
    event = decided.delivery.event
    source = metrics.source_label(event.source)
    metrics.EVENTS.labels(source, decided.outcome.value).inc()
    if decided.outcome is Outcome.RETRY:
        metrics.RETRIES.labels(source, decided.reason).inc()
    elif decided.outcome is Outcome.APPLIED:
        metrics.END_TO_END_SECONDS.observe(max(0, now_ms - event.received_at_ms) / 1000)
