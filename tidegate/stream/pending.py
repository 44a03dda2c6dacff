"""What workers hold: reading it, taking it over, renewing it, giving it up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from tidegate.stream.calls import Calls, command
from tidegate.stream.client import Client
from tidegate.stream.keys import GROUP, NOBODY
from tidegate.stream.records import Claimed, Owned, Stuck
from tidegate.wire import Entry

IDS_MAX = 1000
"""Ids in one call: it holds Redis meanwhile, and Lua's stack ends at 8,000."""
FETCH_CHUNK = 8
_NEVER = 1 << 31


class Pending(Calls):
    """Deliveries in the hands of consumers.

    ``reader`` is a client of its own, since BLOCK holds its connection. Where a method raises, entries may have been delivered
    by the answer that was lost: they are pending for the consumer, and `own` finds them. ResponseError for which
    `is_nogroup` holds: the group is gone.
    """

    async def read(
        self,
        reader: Client,
        consumer: str,
        *,
        count: int,
        block_ms: int | None,
        shards: Iterable[int] | None = None,
    ) -> list[Entry]:
        """Read up to ``count`` new entries a shard, waiting ``block_ms`` for the first one."""
        names = [self.keys[shard].events for shard in (range(len(self.keys)) if shards is None else shards)]
        block = () if block_ms is None else ("BLOCK", block_ms)
        fresh = [">"] * len(names)
        # Not repeated: the second answer would hide that the first one delivered entries nobody has in hand.
        reply = await self._limited(
            lambda: command(
                reader, "XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, *block, "STREAMS", *names, *fresh
            ),
            block_ms=block_ms,
        )
        entries: list[Entry] = []
        for name, found in reply or ():
            shard = int(name.decode().rsplit("{", 1)[1].split("}", 1)[0])
            entries += [Entry(shard, entry_id, fields) for entry_id, fields in found]
        return entries

    async def fetch(self, reader: Client, shard: int, consumer: str, *, count: int, bytes_max: int) -> list[Entry]:
        """Read new entries of one shard without waiting: ``count`` at most, and no more once ``bytes_max`` is reached."""
        args = [GROUP, consumer, count, bytes_max, FETCH_CHUNK]
        # Not repeated, for the same reason as `read`.
        reply = await self._move_once("fetch", [self.keys[shard].events], args, on=reader)
        return [Entry(shard, entry_id, fields) for entry_id, fields in reply]

    async def own(
        self, reader: Client, shard: int, consumer: str, *, after: bytes = b"", count: int, bytes_max: int
    ) -> Owned:
        """Return what is pending for ``consumer`` after the id ``after``, bounded by ``count`` and ``bytes_max``.

        Delivers nothing: the delivery counts stay as they are. An entry whose content was deleted is settled here, and a
        marker takes its place. Call again with the cursor, even when there were no entries.
        """
        args = [GROUP, consumer, after, min(count, IDS_MAX), bytes_max]
        # Repeated: the second time finds the same, less what the first time put a marker in the place of.
        rows, cursor, lost = await self._move("own", [self.keys[shard].events], args, on=reader)
        return Owned(_delivered(shard, rows), cursor or None, lost)

    async def stuck(self, shard: int, *, idle_ms: int, count: int, after: bytes = b"-") -> list[Stuck]:
        """Return up to ``count`` entries pending for ``idle_ms`` or longer, after the id ``after`` (``-``: from the first)."""
        start = after if after == b"-" else b"(" + after
        key = self.keys[shard].events
        # Repeated: it only looks.
        reply = await self._repeat(
            lambda: command(self.client, "XPENDING", key, GROUP, "IDLE", idle_ms, start, "+", count)
        )
        return [
            Stuck(entry_id, consumer.decode("utf-8", "replace"), idle, deliveries)
            for entry_id, consumer, idle, deliveries in reply or ()
        ]

    async def claim(
        self,
        shard: int,
        consumer: str,
        stuck: Sequence[Stuck],
        *,
        idle_ms: int,
        bytes_max: int,
        deliveries_max: int | None = None,
    ) -> Claimed:
        """Take over what is still idle for ``idle_ms``, in order, until ``bytes_max`` is reached (but at least one).

        A claim counts as a delivery, up to ``deliveries_max``. Looks at the first 1,000 of ``stuck``. An entry whose content
        was deleted is settled here, and a marker takes its place.
        """
        ids = (item.entry_id for item in stuck[:IDS_MAX])
        args = [GROUP, consumer, idle_ms, bytes_max, _NEVER if deliveries_max is None else deliveries_max, *ids]
        # Not repeated: what the first call took is no longer idle, so the second would say that there was nothing.
        rows, lost = await self._move_once("claim", [self.keys[shard].events], args)
        return Claimed(_delivered(shard, rows), lost)

    async def on_trial(self, shard: int, consumer: str, entry_id: bytes, *, deliveries: int) -> bool:
        """Set how often ``entry_id`` counts as delivered, before it is tried alone; return whether it is still ours."""
        args = [GROUP, consumer, entry_id, deliveries]
        return cast(int, await self._move("trial", [self.keys[shard].events], args)) == 1

    async def pending_of(self, shard: int, consumer: str) -> list[bytes]:
        """Return the ids of everything pending for ``consumer``."""
        found: list[bytes] = []
        start = b"-"
        while True:
            page = await self._page_of(shard, consumer, start)
            found += page
            if len(page) < IDS_MAX:
                return found
            start = b"(" + found[-1]

    async def _page_of(self, shard: int, consumer: str, start: bytes) -> list[bytes]:
        key = self.keys[shard].events
        # Repeated: it only looks.
        rows = await self._repeat(lambda: command(self.client, "XPENDING", key, GROUP, start, "+", IDS_MAX, consumer))
        return [row[0] for row in rows or ()]

    async def beat(self, shard: int, consumer: str, ids: Sequence[bytes]) -> list[bytes]:
        """Renew the lease of ``ids``; return those that are no longer this consumer's."""
        return cast(list[bytes], await self._move("beat", [self.keys[shard].events], [GROUP, consumer, *ids]))

    async def hand_back(self, shard: int, consumer: str, ids: Sequence[bytes], *, idle_ms: int) -> int:
        """Give ``ids`` up so that they look idle for ``idle_ms`` to the next sweep; return how many were still ours.

        This delivery no longer counts: to be handed back is no evidence against an entry.
        """
        args = [GROUP, consumer, NOBODY, idle_ms, *ids]
        return cast(int, await self._move("handback", [self.keys[shard].events], args))

    async def retire(self, shard: int, consumer: str) -> bool:
        """Forget ``consumer`` unless entries are pending for it; return whether it is gone."""
        return cast(int, await self._move("retire", [self.keys[shard].events], [GROUP, consumer])) == 1

    async def consumers(self, shard: int) -> list[dict[str, Any]]:
        """Return XINFO CONSUMERS as dictionaries (name, pending, idle, and inactive from Redis 7.2 on)."""
        # Repeated: it only looks.
        found: list[dict[str, Any]] = await self._repeat(
            lambda: self.client.xinfo_consumers(self.keys[shard].events, GROUP)
        )
        return found


def _delivered(shard: int, rows: Sequence[Any]) -> list[Entry]:
    return [Entry(shard, entry_id, fields, deliveries) for entry_id, fields, deliveries in rows]
