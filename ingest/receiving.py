"""Bodies as they come in: bounded one by one, in time, and all together."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from starlette.types import Receive

from ingest import problems
from ingest.problems import ProblemError


class GoneError(Exception):
    """The client went away before its request was complete: nobody is left to read an answer."""


class _Body:
    """One body under way: its time limit, the bytes of it that are here, and whether it had to make room."""

    __slots__ = ("gave_way", "held", "limit")

    def __init__(self, limit: asyncio.Timeout) -> None:
        self.limit = limit
        self.held = 0
        self.gave_way = False


class Receiving:
    """Bodies under way in this process, oldest first.

    Above ``bytes_max`` or ``count_max`` the oldest is given up: whoever sends at an ordinary pace is never it while somebody
    dawdles, so that no number of slow senders keeps out the others.
    """

    def __init__(self, *, body_bytes_max: int, bytes_max: int, count_max: int, body_seconds: float) -> None:
        self._body_bytes_max = body_bytes_max
        self._bytes_max = bytes_max
        self._count_max = count_max
        self._body_seconds = body_seconds
        self._bytes = 0
        self._bodies: OrderedDict[_Body, None] = OrderedDict()

    def make_room(self) -> bool:
        """Give up the oldest; return whether there was one."""
        if not self._bodies:
            return False
        body, _ = self._bodies.popitem(last=False)
        # Its bytes are gone in a moment, when its task hears of it: counted as gone now, or another would be given up for them.
        self._bytes -= body.held
        body.held = 0
        body.gave_way = True
        body.limit.reschedule(asyncio.get_running_loop().time())
        return True

    async def body(self, receive: Receive) -> bytes:
        """Return the body; raise ProblemError (413, 408) or GoneError."""
        body: _Body | None = None
        try:
            async with asyncio.timeout(self._body_seconds) as limit:
                body = _Body(limit)
                self._bodies[body] = None
                if len(self._bodies) > self._count_max:
                    self.make_room()
                return await self._read(receive, body)
        except TimeoutError:
            raise ProblemError(problems.TOO_SLOW, "too_slow", self._why(body)) from None
        finally:
            if body is not None:
                self._bodies.pop(body, None)
                self._bytes -= body.held

    def _why(self, body: _Body | None) -> str:
        if body is not None and body.gave_way:
            return "the slowest of many, it made room for others: ingest.requests_max or ingest.received_bytes_max was reached"
        return f"not whole within {self._body_seconds:g} s (ingest.body_seconds)"

    async def _read(self, receive: Receive, body: _Body) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise GoneError
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._body_bytes_max:
                raise ProblemError(problems.TOO_LARGE, "too_large", f"more than {self._body_bytes_max} bytes")
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
            if body in self._bodies:
                body.held += len(chunk)
                self._bytes += len(chunk)
            while self._bytes > self._bytes_max and self.make_room():
                pass
