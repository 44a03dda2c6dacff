"""Bringing a part into Postgres, however long that takes: no attempt is consumed by an outage, or by somebody's lock."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

import psycopg
from tenacity import AsyncRetrying, retry_if_exception, stop_when_event_set, wait_random_exponential

from consumer import parking
from consumer.apply import Applied, Applier
from consumer.breaker import Breaker, State
from consumer.handling import HandlerTimeoutError, OvertimeError, StatementTimeoutError
from consumer.pace import Pace
from consumer.part import Part
from tidegate.errors import TidegateError
from tidegate.postgres import Kind, Pool, borrowed, classify
from tidegate.telemetry import logs, metrics

log = logs.get(__name__)

TIMEOUTS_MAX = 3
"""A handler's statement that times out so often is no accident: some event's is too slow, or waits for somebody's lock."""
_ALIVE = ("40", "55P03")
"""Two transactions met: Postgres is well."""


class _HeldError(Exception):
    """The source of some of it was put on hold while it waited for Postgres."""


class Committer:
    """What the lanes of a worker share on their way to Postgres. ``give_up``, once set, ends the repeating.

    ``held`` tells the sources that are on hold.
    """

    def __init__(
        self,
        pool: Pool,
        applier: Applier,
        breaker: Breaker,
        pace: Pace,
        *,
        transaction_seconds: float,
        held: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self.applier = applier
        self.breaker = breaker
        self.give_up = asyncio.Event()
        self._pool = pool
        self._pace = pace
        self._transaction_seconds = transaction_seconds
        self._held = held
        self._trying = 0
        """Lanes with something to bring into Postgres, which will try when it is time to."""
        self._began: dict[asyncio.Task[object] | None, float] = {}

    @property
    def still_seconds(self) -> float:
        """How long the longest transaction under way has taken so far; waiting for the breaker is none."""
        now = time.monotonic()
        return max((now - at for at in self._began.values()), default=0.0)

    async def ready(self) -> None:
        """Return when Postgres is of use, for a lane with empty hands, which would only bring more work.

        With nobody left who would try it tries itself: those who could may have parked all they had.
        """
        if self.breaker.state is State.CLOSED:
            return
        if self._trying:
            await self.breaker.closed()
        else:
            await self._repeat(Part([], batch_seconds=1.0, deliveries_max=2))

    async def commit(self, part: Part) -> AsyncIterator[tuple[Part, Applied]]:
        """Apply and commit ``part``; yield what was committed and what came of it.

        First of all what has to wait for its source, of which Postgres hears nothing. Halved, and these halved, when its
        handlers or their statements are too slow together: then several are yielded.
        Raises UnreachableError when Postgres stays away for too long.
        """
        now_ms = time.time_ns() // 1_000_000
        waiting, part = parking.apart(part, held := self._held(), now_ms)
        if waiting:
            self.breaker.left()  # a lane that was let in to try with it must not keep the others waiting
            parked = Applied(parking.park(waiting, now_ms, random.random), held=held)
            yield replace(part, read=waiting), parked
        if not part.read:
            return
        try:
            applied = await self._repeat(part)
        except _HeldError:
            parts: Sequence[Part] = [part]
        except (OvertimeError, StatementTimeoutError) as error:
            if self.give_up.is_set():
                raise
            parts = self._smaller(part, error)
        else:
            yield part, applied
            return
        for smaller in parts:
            async for committed in self.commit(smaller):
                yield committed

    def _smaller(self, part: Part, error: OvertimeError | StatementTimeoutError) -> Sequence[Part]:
        slow = isinstance(error, StatementTimeoutError)
        if part.lone:
            overtime = HandlerTimeoutError(self.applier.event_seconds)
            return [replace(part, verdict=error.verdict() if isinstance(error, StatementTimeoutError) else overtime)]
        log.info("too slow in one transaction: halved", entries=len(part.read), statement=slow)
        return part.halves(event_seconds=self.applier.event_seconds, slow=slow)

    async def _repeat(self, part: Part) -> Applied:
        self._trying += 1
        try:
            return await self._try(part)
        finally:
            self._trying -= 1

    async def _try(self, part: Part) -> Applied:
        tries = _Tries(slow=part.slow)
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(tries.again),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            stop=stop_when_event_set(self.give_up),  # type: ignore[arg-type]
            reraise=True,
        ):
            with attempt:
                await self.breaker.enter()
                if (held := self._held()) and any(parking.is_held(item, held) for item in part.read):
                    self.breaker.left()
                    raise _HeldError
                applied = await self._once(part, tries)
        return applied

    async def _once(self, part: Part, tries: _Tries) -> Applied:
        me = asyncio.current_task()
        started = self._began[me] = time.monotonic()
        try:
            async with borrowed(self._pool, self._transaction_seconds) as connection:
                applied = await self.applier.apply(connection, part, isolate=tries.isolate)
        except Exception as error:
            if isinstance(error, OvertimeError):
                self._pace.took(len(part.read), time.monotonic() - started)
            self._note(error, tries)
            raise
        except BaseException:
            self.breaker.left()
            raise
        finally:
            del self._began[me]
        seconds = time.monotonic() - started
        self.breaker.succeeded()
        self._pace.took(len(part.read), seconds)
        metrics.APPLY_SECONDS.observe(seconds)
        return applied

    def _note(self, error: Exception, tries: _Tries) -> None:
        """Tell the breaker what ``error`` says about Postgres; raises UnreachableError when it has been away too long."""
        kind = classify(error)
        if kind is Kind.SYSTEMIC:
            self.breaker.failed(error, "refuses our statements: schema or rights are wrong", at_once=True)
        elif tries.isolate and isinstance(error, psycopg.Error) and kind is not Kind.TRANSIENT:
            # Every event was tried by itself: what it refuses now is a letter, or the commit of what each could do alone.
            self.breaker.failed(error, "refuses what we write of our own", at_once=True)
        elif kind is Kind.TRANSIENT and not str(getattr(error, "sqlstate", None) or "").startswith(_ALIVE):
            self.breaker.failed(error)
        else:
            if not isinstance(error, OvertimeError):
                log.info("transaction repeated", error=str(error).partition("\n")[0])
            self.breaker.succeeded()


@dataclass(slots=True)
class _Tries:
    """What was learnt from the tries of one part. Knows nothing of its deliveries: tenacity's objects refer to each other, and
    would keep megabytes alive until the garbage collector comes by.
    """

    slow: bool
    isolate: bool = False
    timeouts: int = 0

    def again(self, error: BaseException) -> bool:
        """Tell whether to repeat after ``error``, and note how."""
        if isinstance(error, StatementTimeoutError):
            self.timeouts += 1
            return self.timeouts < TIMEOUTS_MAX and not self.slow  # else `commit` makes it smaller
        if not isinstance(error, Exception) or isinstance(error, OvertimeError | TidegateError | _HeldError):
            return False
        if classify(error) in (Kind.TRANSIENT, Kind.SYSTEMIC):
            return True
        # Refused at COMMIT, where no savepoint is left to tell which event it was: a deferred constraint or trigger.
        self.isolate = True
        return isinstance(error, psycopg.Error)
