"""Where a request's events are kept before it is answered 202: in Redis, else in the inbox, else nowhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from ingest.appender import Appender
from ingest.fuse import Fuse
from ingest.group_commit import NotDurableError, OverloadedError
from ingest.inboxing import Inboxing
from tidegate.stream import Appendable

Tier = Literal["redis", "postgres"]


class Kept(NamedTuple):
    """Which tier has the events, and for each whether it was new there."""

    tier: Tier
    new: list[bool]


class Tiers:
    """Bounds what waits to be durable in this process, whichever tier it waits for."""

    def __init__(
        self, appender: Appender, fuse: Fuse, inboxing: Inboxing | None, *, pending_max: int, pending_bytes_max: int
    ) -> None:
        self.fuse = fuse
        self.inboxing = inboxing
        self._appender = appender
        self._pending_max = pending_max
        self._pending_bytes_max = pending_bytes_max
        self._pending = 0
        self._pending_bytes = 0

    async def keep(self, items: Sequence[Appendable], anew: Callable[[], Sequence[Appendable]]) -> Kept:
        """Return once all of ``items`` are durable.

        The inbox is given ``anew()``, the same events as deliveries of their own: Redis may have taken the first ones all
        the same, and two copies of one delivery would count as one applied twice, where two deliveries of one event are
        an event and its duplicate.

        Raises OverloadedError or NotDurableError; then some may be kept all the same, and sent again they are recognised.
        """
        size = sum(len(item.payload) for item in items)
        if self._pending + len(items) > self._pending_max or self._pending_bytes + size > self._pending_bytes_max:
            raise OverloadedError("too much of this process waits to be durable")
        self._pending += len(items)
        self._pending_bytes += size
        try:
            if self.fuse.is_whole():
                try:
                    return Kept("redis", await self._appender.append(items))
                except NotDurableError:
                    if self.inboxing is None:
                        raise
            if self.inboxing is None:
                raise NotDurableError(f"{self.fuse.name} is of no use ({self.fuse.why}), and there is no inbox")
            return Kept("postgres", await self.inboxing.store(anew()))
        finally:
            self._pending -= len(items)
            self._pending_bytes -= size

    def why_not(self) -> dict[str, str]:
        """Return why nothing can be made durable now, by tier; empty when something can."""
        if self.fuse.is_whole():
            return {}
        if self.inboxing is None:
            return {"redis": self.fuse.state(), "inbox": "none is configured"}
        why = self.inboxing.why_not()
        return {"redis": self.fuse.state(), "inbox": why} if why else {}

    async def drain(self) -> None:
        """Return when nothing is in flight."""
        await self._appender.drain()
        if self.inboxing is not None:
            await self.inboxing.drain()
