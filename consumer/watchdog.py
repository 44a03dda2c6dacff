"""Ends a process that hangs: a supervisor starts another, and other workers take over what it held."""

from __future__ import annotations

import asyncio
import faulthandler
import os
from collections.abc import Callable

from tidegate.telemetry import logs

log = logs.get(__name__)

EXIT_CODE = 1


class Watchdog:
    """Two ways to hang, two ways to notice.

    A handler that blocks (a loop, a lock, a regular expression that never ends) stops the event loop: nobody here can run,
    not even another thread if it holds the interpreter's lock. A timer of the interpreter's own, armed anew while the loop
    turns, prints where every thread is and ends the process.

    A handler that swallows its cancellation hangs one lane while the loop turns: ``still_seconds`` tells.
    """

    def __init__(
        self,
        still_seconds: Callable[[], float],
        *,
        hang_seconds: float,
        lane_seconds: float,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._still_seconds = still_seconds
        self._hang_seconds = hang_seconds
        self._lane_seconds = lane_seconds
        self._leave = leave

    async def run(self) -> None:
        """Watch until cancelled."""
        looks = 0
        try:
            while True:
                faulthandler.dump_traceback_later(self._hang_seconds, exit=True)
                await asyncio.sleep(self._hang_seconds / 10)
                still = self._still_seconds()
                # Twice: a process that was stopped, and woken just now, has not hung.
                looks = looks + 1 if still > self._lane_seconds + self._hang_seconds else 0
                if looks > 1:
                    self._end(still)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _end(self, still: float) -> None:
        stacks = {
            task.get_name(): [f"{frame.f_code.co_filename}:{frame.f_lineno}" for frame in task.get_stack()]
            for task in asyncio.all_tasks()
            if task.get_name().startswith("lane-")
        }
        log.error(
            "a handler will not be stopped: this process ends, other workers take over what it held",
            seconds=round(still),
            lanes=stacks,
        )
        self._leave(EXIT_CODE)
