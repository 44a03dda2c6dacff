"""Working until nothing is left on the streams, nor in the inbox: `tidegate consume --drain`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from redis.exceptions import RedisError

from tidegate import inbox, ledger
from tidegate.postgres import Pool, borrowed
from tidegate.stream import UNAVAILABLE, Stream
from tidegate.telemetry import logs

log = logs.get(__name__)

LOOK_EVERY_SECONDS = 0.2
LOOK_SECONDS = 10.0
LOG_EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Left:
    """How far a drain is. ``done`` counts what left the streams since it began, by any worker's hand."""

    done: int
    waiting: int
    retrying: int
    next_due_seconds: float | None
    """Until the next retry is due; 0 when one is, None when there is none."""
    held: int = 0
    """Of those that wait for a retry: how many do so until their source is resumed, which no worker can hasten."""
    sources: tuple[str, ...] = ()
    """Those sources."""
    boxed: int = 0
    """Rows of the inbox, which go to the streams first."""

    @property
    def total(self) -> int:
        """Grows while more comes in."""
        return self.done + self.count

    @property
    def count(self) -> int:
        """Everything that is not done, whatever it waits for."""
        return self.waiting + self.retrying + self.boxed

    @property
    def only_held(self) -> bool:
        """Whether all that is left waits until its source is resumed."""
        return 0 < self.count <= self.held

    def __str__(self) -> str:
        held = f"{self.held:,} wait for sources on hold: {', '.join(self.sources)}"
        if self.only_held:
            return held
        text = f"{self.waiting:,} wait, {self.retrying:,} wait for a retry"
        if self.boxed:
            text = f"{self.boxed:,} in the inbox, {text}"
        if self.next_due_seconds is not None:
            due = timedelta(seconds=round(self.next_due_seconds))
            text = f"{text} (the next is due {f'in {due}' if due else 'now'})"
        return f"{text}, of which {held}" if self.held else text


def log_progress(left: Left) -> None:
    """Say how far it is, for those who read logs."""
    due = None if left.next_due_seconds is None else round(left.next_due_seconds)
    log.info(
        "draining",
        done=left.done,
        waiting=left.waiting,
        retrying=left.retrying,
        held=left.held,
        inbox=left.boxed,
        next_retry_seconds=due,
    )


class Drain:
    """Ends a worker when the inbox and both streams of all shards are empty, hold nothing but what waits for its source, or after
    ``limit_seconds``.

    ``report`` is told every ``report_every_seconds`` how far it is, and at the end.
    """

    def __init__(
        self,
        limit_seconds: float,
        *,
        report: Callable[[Left], None] = log_progress,
        report_every_seconds: float = LOG_EVERY_SECONDS,
    ) -> None:
        self._limit_seconds = limit_seconds
        self._report = report
        self._report_every_seconds = report_every_seconds
        self._settled_before: int | None = None
        self._drained = False
        self._held: Callable[[], frozenset[str]] = frozenset

    async def run(
        self, stream: Stream, pool: Pool, stop: Callable[[], None], held: Callable[[], frozenset[str]] = frozenset
    ) -> None:
        """Return when it is time to ``stop`` the worker, having done so. Cancel it when the worker ended by itself.

        ``held`` tells the sources that are on hold.
        """
        self._held = held
        try:
            async with asyncio.timeout(self._limit_seconds):
                self._drained = await self._until_empty(stream, pool)
        except TimeoutError:
            log.error("the drain has reached its limit; stopping", limit_seconds=self._limit_seconds)
        except Exception:
            log.exception("the drain failed; stopping")
        finally:
            stop()  # whatever happened: nobody else would ever end this worker

    async def _until_empty(self, stream: Stream, pool: Pool) -> bool:
        """Return whether nothing is left, once a worker can do no more."""
        reported = -self._report_every_seconds
        while True:
            # While a server is away the worker says so, and gives up first.
            with suppress(*UNAVAILABLE, RedisError, psycopg.OperationalError):
                left = await self.look(stream, pool)
                now = time.monotonic()
                if not left.count or left.only_held or now - reported >= self._report_every_seconds:
                    self._report(left)
                    reported = now
                if not left.count or left.only_held:
                    return not left.count
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def look(self, stream: Stream, pool: Pool) -> Left:
        """Return how far it is. Raises redis-py's and psycopg's errors."""
        # Before the streams: what is moved between the two looks is seen twice, and not missed.
        async with borrowed(pool, LOOK_SECONDS) as connection:
            boxed = (await inbox.state(connection)).counted_rows
        shards = range(len(stream.keys))
        balance = ledger.total([await stream.audit(shard) for shard in shards])
        settled = balance.found - balance.waiting - balance.retrying
        if self._settled_before is None:
            self._settled_before = settled
        # Allowed to move none, `reenter` merely says when the next one is due.
        looks = [await stream.reenter(shard, count=0, room=0, floor=0, bytes_max=1) for shard in shards]
        due_ms = min((look.next_due_ms for look in looks if look.next_due_ms is not None), default=None)
        due_seconds = None if due_ms is None else max(0.0, due_ms / 1000 - time.time())
        held = {source: count for source in sorted(self._held()) if (count := await stream.held(source))}
        return Left(
            settled - self._settled_before,
            balance.waiting,
            balance.retrying,
            due_seconds,
            sum(held.values()),
            tuple(held),
            boxed,
        )

    async def ended(self, stream: Stream, pool: Pool) -> bool:
        """Return whether nothing was left, now that the worker has stopped; say what was, if anything.

        A look of its own: told to stop in the middle, the worker may have finished all there was.
        """
        if self._drained:
            return True
        try:
            left = await self.look(stream, pool)
        except (*UNAVAILABLE, RedisError) as error:
            log.error("not drained: Redis cannot say what is left", error=str(error))
            return False
        except psycopg.Error as error:
            log.error("not drained: Postgres cannot say what is left", error=str(error))
            return False
        self._report(left)
        if left.count:
            remedy = f" (`tidegate sources resume {left.sources[0]}` lets them go on)" if left.only_held else ""
            log.error(f"not drained: {left}{remedy}")
        return not left.count
