"""What one worker knows of the sources on hold, and what it does when one is resumed."""

from __future__ import annotations

from collections.abc import Iterable

from tidegate.stream import PauseView, Stream
from tidegate.telemetry import logs

log = logs.get(__name__)

LOOK_EVERY_SECONDS = 1.0


class Pausing:
    """Every worker makes due what waits for a source that goes on, beside whoever resumed it.

    For that one may die in the middle of it; and a worker that has not heard of it yet may park some more, behind its back.
    ``sources`` are those of the settings: something may wait for them since before this worker began.
    """

    def __init__(self, stream: Stream, view: PauseView, sources: Iterable[str] = ()) -> None:
        self._stream = stream
        self._view = view
        self._parked = set(sources)
        """Of these something may wait."""

    @property
    def held(self) -> frozenset[str]:
        """The sources whose deliveries wait."""
        return self._view.held

    async def begin(self) -> None:
        """Look for the first time. Raises redis-py's errors: who knows nothing of the pauses must not apply anything."""
        await self._view.load()

    async def look(self) -> None:
        """Look again, once a second or so."""
        await self._view.refresh()
        self._parked |= self._view.held

    async def release(self) -> int:
        """Make due what waits for sources that go on; return how many deliveries. Not part of `look`: a million take a while.

        Raises redis-py's errors: the next call does what this one did not.
        """
        total = 0
        for source in sorted(self._parked - self._view.held):
            # Before the call, not after it: what is parked meanwhile, by a lane that decided before we looked, comes back in.
            self._parked.discard(source)
            try:
                released = await self._resume(source)
            except BaseException:
                self._parked.add(source)
                raise
            if released:
                log.info("a source goes on: what waited is due", source=source, count=released)
            total += released
        return total

    async def _resume(self, source: str) -> int:
        return await self._stream.resume(source, wanted=lambda: source not in self._view.held)

    def parked(self, sources: Iterable[str]) -> None:
        """Note, after they were parked, that deliveries of ``sources`` wait: they may have been resumed in between."""
        self._parked.update(sources)
