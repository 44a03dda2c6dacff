"""Group commit: what arrives while one commit is under way shares the next.

The busier the gate, the more events share each commit, and with it each fsync.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tidegate.stream import Appendable

BYTES_MAX = 1024 * 1024
"""Payload bytes in one commit: the server serves nobody else meanwhile, and client libraries copy them two or three times."""


class OverloadedError(Exception):
    """There is no room for more: too much waits, here or where it is kept."""


class NotDurableError(Exception):
    """The events were not taken, or were and nobody said so: sending them again is safe."""


def anew(error: BaseException) -> BaseException:
    """Return an error that nobody has raised yet, for each of those who wait for the same commit.

    An exception holds the frames it went through, and these hold payloads and what they wait for, which holds the exception: a
    ring that only the collector opens. A mistake of ours is returned as it is, for the log.
    """
    return type(error)(*error.args) if isinstance(error, OverloadedError | NotDurableError) else error


@dataclass(slots=True)
class _Part:
    items: Sequence[Appendable]
    size: int
    since: float
    """When it came, of the loop's clock."""
    answer: asyncio.Future[list[bool]]


class GroupCommit:
    """One ``commit`` in flight, of at most ``events_max`` events and 1 MiB unless a single request brings more.

    ``commit`` returns for each item whether it was new; whatever it raises is raised to all whose items it held.
    ``is_open`` tells whether to try at all: where it turns false, those who wait fail at once. What has waited for its turn
    longer than ``wait_seconds`` is given up untried: its provider has gone, and will send it again, behind all that waits.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Appendable]], Awaitable[list[bool]]],
        *,
        events_max: int,
        wait_seconds: float,
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        self._commit = commit
        self._events_max = events_max
        self._wait_seconds = wait_seconds
        self._is_open = is_open
        self._queue: deque[_Part] = deque()
        self._running: asyncio.Task[None] | None = None

    def submit(self, items: Sequence[Appendable]) -> asyncio.Future[list[bool]]:
        """Return what will be known of ``items``: for each whether it was new, or why none of them may be relied on."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[bool]] = loop.create_future()
        self._queue.append(_Part(items, sum(len(item.payload) for item in items), loop.time(), answer))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return answer

    async def drain(self) -> None:
        """Return when nothing is in flight."""
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._queue:
                if self._is_open():  # else they go on to where they need not wait
                    self._give_up_late_ones()
                if self._queue:
                    await self._answer(self._next())
        finally:
            self._running = None

    def _give_up_late_ones(self) -> None:
        oldest = asyncio.get_running_loop().time() - self._wait_seconds
        while self._queue and self._queue[0].since < oldest:
            part = self._queue.popleft()
            if not part.answer.done():
                part.answer.set_exception(OverloadedError("too much was before it"))

    def _next(self) -> list[_Part]:
        queue = self._queue
        parts = [queue.popleft()]
        count, size = len(parts[0].items), parts[0].size
        while queue and count + len(queue[0].items) <= self._events_max and size + queue[0].size <= BYTES_MAX:
            part = queue.popleft()
            parts.append(part)
            count += len(part.items)
            size += part.size
        return parts

    async def _answer(self, parts: Sequence[_Part]) -> None:
        items = [item for part in parts for item in part.items]
        try:
            if not self._is_open():
                raise NotDurableError("not asked: it was of no use a moment ago")
            flags = await self._commit(items)
        except Exception as error:  # nobody may wait for ever, whatever it is
            for part in parts:
                if not part.answer.done():  # else the client has gone; what was kept stays
                    part.answer.set_exception(anew(error))
            return
        at = 0
        for part in parts:
            if not part.answer.done():
                part.answer.set_result(flags[at : at + len(part.items)])
            at += len(part.items)
