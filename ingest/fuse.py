"""A fuse before a server: blown, nobody waits for that server any more, until it has answered a probe of our own.

Not the worker's breaker, whose callers have nowhere else to go and wait: a request goes on to the next tier at once, and
none of them pays for finding out whether the server is back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from tidegate.telemetry import logs, metrics, redaction

log = logs.get(__name__)

FIRST_PROBE_SECONDS = 0.25
CALM_SECONDS = 60.0
"""A fuse that blows again within this time waits longer before its first probe: a server may answer probes and no more."""


class Fuse:
    """``probe`` asks the server ``name`` for what we need of it, and raises when it cannot have it."""

    def __init__(
        self,
        name: str,
        probe: Callable[[], Awaitable[object]],
        *,
        probe_seconds: float,
        pause_seconds_max: float,
        instead: str,
    ) -> None:
        self.name = name
        self.why = ""
        """What is wrong, for people; empty while whole."""
        self._probe = probe
        self._probe_seconds = probe_seconds
        self._pause_seconds_max = pause_seconds_max
        self._instead = instead
        self._blown = asyncio.Event()
        self._blown_at = 0.0
        self._mended_at = float("-inf")
        self._in_a_row = 0
        self._show()

    def is_whole(self) -> bool:
        """Tell whether the server may be asked."""
        return not self._blown.is_set()

    def state(self) -> str:
        """Return how long it has been blown, for whoever may ask; why is for the log."""
        return f"of no use for {time.monotonic() - self._blown_at:.0f} s" if self._blown.is_set() else "well"

    def blow(self, error: BaseException) -> None:
        """The server failed us. Said once, however many notice."""
        if self._blown.is_set():
            return
        now = time.monotonic()
        self._in_a_row = self._in_a_row + 1 if now - self._mended_at < CALM_SECONDS else 0
        self._blown_at = now
        self.why = redaction.text(f"{type(error).__name__}: {error}".partition("\n")[0])[:300]
        self._blown.set()
        self._show()
        log.warning(f"{self.name} is of no use: {self._instead}", error=self.why)

    async def run(self) -> None:
        """Probe while blown, until cancelled."""
        while True:
            await self._blown.wait()
            await asyncio.sleep(min(FIRST_PROBE_SECONDS * 2 ** min(self._in_a_row, 10), self._pause_seconds_max))
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(Exception),
                wait=wait_random_exponential(multiplier=FIRST_PROBE_SECONDS, max=self._pause_seconds_max),
            ):
                with attempt:
                    async with asyncio.timeout(self._probe_seconds):
                        await self._probe()
            self._mend()

    def _mend(self) -> None:
        self._mended_at = time.monotonic()
        self.why = ""
        self._blown.clear()
        self._show()
        log.info(f"{self.name} is well again", seconds=round(self._mended_at - self._blown_at, 1))

    def _show(self) -> None:
        metrics.BREAKER_STATE.labels(self.name.lower()).set(2 if self._blown.is_set() else 0)
