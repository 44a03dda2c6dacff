"""A circuit breaker whose callers wait: closed, everybody may; open, nobody; half open, one tries for all.

The kept libraries refuse a call while they are open and let everybody through when half open. A lane that holds a batch
has nowhere to go with it, and fifty lanes trying at once are what a server that comes back can do without.
"""

from __future__ import annotations

import asyncio
import enum
import random
import time
from collections.abc import Callable
from contextlib import suppress

from consumer.outage import Outage
from tidegate.telemetry import logs, metrics, redaction

log = logs.get(__name__)


class State(enum.IntEnum):
    """As the metric shows it."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """One per server and worker, shared by its lanes. Whoever was let in by `enter` says how it went, or `left`."""

    def __init__(
        self,
        outage: Outage,
        *,
        failures_max: int = 3,
        open_seconds: float = 1.0,
        open_seconds_max: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.outage = outage
        self.state = State.CLOSED
        self.why = ""
        """What was wrong when it opened, for people; empty while closed."""
        self._failures_max = failures_max
        self._open_seconds = open_seconds
        self._open_seconds_max = open_seconds_max
        self._clock = clock
        self._failures = 0
        self._openings = 0
        self._probe_at = 0.0
        self._probe: asyncio.Task[object] | None = None
        self._changed = asyncio.Event()
        metrics.BREAKER_STATE.labels(outage.name.lower()).set(self.state)

    async def enter(self) -> None:
        """Return when the caller may try. The first one after the pause tries for all."""
        me = asyncio.current_task()
        while self.state is not State.CLOSED:
            if self.state is State.HALF_OPEN and self._probe is me:
                return
            if self.state is State.OPEN and self._clock() >= self._probe_at:
                self._probe = me
                self._set(State.HALF_OPEN)
                return
            await self._wait()

    async def closed(self) -> None:
        """Return when it is closed: for those who would only bring more work."""
        while self.state is not State.CLOSED:
            await self._changed.wait()

    async def _wait(self) -> None:
        pause = max(0.0, self._probe_at - self._clock()) if self.state is State.OPEN else None
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._changed.wait()

    def failed(self, error: BaseException, what: str = "does not answer", *, at_once: bool = False) -> None:
        """Count a failure; open when it is one too many, when it was the probe, or ``at_once``.

        Raises UnreachableError once the server has been of no use for longer than the outage's limit.
        """
        if self.state is State.OPEN or (self.state is State.HALF_OPEN and asyncio.current_task() is not self._probe):
            return  # began before it opened: nothing new
        self._failures += 1
        if self.state is State.CLOSED and self._failures < self._failures_max and not at_once:
            log.info(f"{self.outage.name} failed; repeating", error=_line(error), failures=self._failures)
            return
        self._openings += 1
        pause = min(self._open_seconds * 2 ** min(self._openings - 1, 16), self._open_seconds_max)
        # Jitter: the workers of a fleet must not probe together.
        self._probe_at = self._clock() + pause * (0.75 + random.random() / 4)
        self.why = f"{what}: {_line(error)}"
        self._set(State.OPEN)
        self.outage.begin(error, what)

    def succeeded(self) -> None:
        """The server did what it was asked: close."""
        self._failures = 0
        if self.state is not State.CLOSED:
            self._openings = 0
            self.why = ""
            self._set(State.CLOSED)
        self.outage.end()

    def left(self) -> None:
        """The caller ends without knowing: if it was the probe, the next one tries."""
        if self.state is State.HALF_OPEN and asyncio.current_task() is self._probe:
            self._probe_at = self._clock()
            self._set(State.OPEN)

    def _set(self, state: State) -> None:
        self.state = state
        if state is not State.HALF_OPEN:
            self._probe = None
        metrics.BREAKER_STATE.labels(self.outage.name.lower()).set(state)
        self._changed.set()
        self._changed = asyncio.Event()


def _line(error: BaseException) -> str:
    """Return the first line: those that follow quote the statement, and with it people's data."""
    return redaction.text(str(error).strip().partition("\n")[0])[:300]
