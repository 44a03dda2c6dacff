"""Bringing a part into Postgres, however long that takes: no attempt is consumed by an outage, and nobody else's delay."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import psycopg
from tenacity import AsyncRetrying, retry_if_exception, stop_when_event_set, wait_random_exponential

from consumer.apply import Applied, Applier, OvertimeError
from consumer.breaker import Breaker
from consumer.pace import Pace
from consumer.part import Part
from tidegate.errors import TidegateError
from tidegate.postgres import Kind, Pool, borrowed, classify
from tidegate.telemetry import logs, metrics

log = logs.get(__name__)

TIMEOUTS_MAX = 3
"""A statement that times out so often is no outage: some event's is too slow."""
_ALIVE = ("40", "55P03", "57014")
"""Two transactions met, or a statement was slow: Postgres is well."""


class Committer:
    """What the lanes of a worker share on their way to Postgres. ``give_up``, once set, ends the repeating."""

    def __init__(
        self, pool: Pool, applier: Applier, breaker: Breaker, pace: Pace, *, transaction_seconds: float
    ) -> None:
        self.applier = applier
        self.breaker = breaker
        self.give_up = asyncio.Event()
        self._pool = pool
        self._pace = pace
        self._transaction_seconds = transaction_seconds
        self._began: dict[asyncio.Task[object] | None, float] = {}

    @property
    def still_seconds(self) -> float:
        """How long the longest transaction under way has taken so far; waiting for the breaker is none."""
        now = time.monotonic()
        return max((now - at for at in self._began.values()), default=0.0)

    async def commit(self, part: Part) -> Applied:
        """Apply and commit ``part``; in halves, and these in halves, when its handlers or statements are too slow together.

        Raises UnreachableError when Postgres stays away for too long.
        """
        try:
            return await self._repeat(part)
        except (OvertimeError, psycopg.errors.QueryCanceled) as error:
            if len(part.deliveries) < 2 or self.give_up.is_set():
                raise
            slow = not isinstance(error, OvertimeError)
            log.info("too slow in one transaction: halved", deliveries=len(part.deliveries), statement=slow)
        first, second = part.halves(event_seconds=self.applier.event_seconds, slow=slow)
        return await self.commit(first) | await self.commit(second)

    async def _repeat(self, part: Part) -> Applied:
        tries = _Tries(lone=len(part.deliveries) < 2, slow=part.slow)
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(tries.again),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            stop=stop_when_event_set(self.give_up),  # type: ignore[arg-type]
            reraise=True,
        ):
            with attempt:
                await self.breaker.enter()
                applied = await self._once(part, tries.isolate)
        return applied

    async def _once(self, part: Part, isolate: bool) -> Applied:
        me = asyncio.current_task()
        started = self._began[me] = time.monotonic()
        try:
            async with borrowed(self._pool, self._transaction_seconds) as connection:
                applied = await self.applier.apply(connection, part, isolate=isolate)
        except Exception as error:
            self._note(error)
            if isinstance(error, OvertimeError):
                self._pace.took(len(part.deliveries), time.monotonic() - started)
            raise
        except BaseException:
            self.breaker.left()
            raise
        finally:
            del self._began[me]
        seconds = time.monotonic() - started
        self.breaker.succeeded()
        self._pace.took(len(part.deliveries), seconds)
        metrics.APPLY_SECONDS.observe(seconds)
        return applied

    def _note(self, error: Exception) -> None:
        """Tell the breaker what ``error`` says about Postgres; raises UnreachableError when it has been away too long."""
        kind = classify(error)
        if kind not in (Kind.TRANSIENT, Kind.SYSTEMIC) or isinstance(error, OvertimeError):
            self.breaker.succeeded()
        elif str(getattr(error, "sqlstate", None) or "").startswith(_ALIVE):
            log.info("transaction repeated", error=str(error).partition("\n")[0])
            self.breaker.succeeded()
        elif kind is Kind.SYSTEMIC:
            self.breaker.failed(error, "refuses our statements: schema or rights are wrong", at_once=True)
        else:
            self.breaker.failed(error)


@dataclass(slots=True)
class _Tries:
    """What was learnt from the tries of one part. Knows nothing of its deliveries: tenacity's objects refer to each other, and
    would keep megabytes alive until the garbage collector comes by.
    """

    lone: bool
    slow: bool
    isolate: bool = False
    timeouts: int = 0

    def again(self, error: BaseException) -> bool:
        """Tell whether to repeat after ``error``, and note how."""
        if isinstance(error, psycopg.errors.QueryCanceled):
            self.timeouts += 1
            if self.timeouts < TIMEOUTS_MAX and not self.slow:
                return True
            self.isolate = True
            return self.lone  # else `commit` halves
        if not isinstance(error, Exception) or isinstance(error, OvertimeError | TidegateError):
            return False
        if classify(error) in (Kind.TRANSIENT, Kind.SYSTEMIC):
            return True
        # Refused at COMMIT, where no savepoint is left to tell which event it was: a deferred constraint or trigger.
        first, self.isolate = not self.isolate, True
        return first and isinstance(error, psycopg.Error)
