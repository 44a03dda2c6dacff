"""The streams of one deployment: what may be done to a delivery on Redis, and nothing else may.

Every method is one Lua move (or one read) on one shard. Moves are safe to send twice, so they are: when the answer is
lost the same call is repeated. Where that would not be safe the method says so.

**Markers.** Some program may delete an entry that is pending, or waits for its retry. It must still end, and be counted. So
the move that finds it gone puts another entry on the events stream, in the same script that lets go of the old one: `v`
(`1`), `lost` (the id), `queue` (`events` or `retry`, where it was). The worker that reads it makes a letter of it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tidegate.stream.keys import GROUP, Keys, event_digest, replay_digest, row_digest
from tidegate.stream.pending import Pending
from tidegate.stream.records import Appendable, BacklogFullError, Reentered, Settled, Settlement, ShardState

REPLAYED_SECONDS = 180 * 86_400
"""How long a replay is remembered: a letter may be `replaying` for as long as its delivery waits for retries."""
UNBOXED_SECONDS = 7 * 86_400
"""How long an inbox row is remembered as appended, at most; half of it at least. A mover may sleep, and wake, that late."""
RELEASED_MAX = 1000
MENDED_MAX = 1000
MENDED_BYTES_MAX = 4_194_304
"""Of one call: Redis reads the entries to know their ids."""


class Stream(Pending):
    """Moves and reads over ``shards`` shards named under ``prefix``."""

    def _seen(self, keys: Keys) -> tuple[str, str]:
        # Two buckets of half the window each: an event is remembered for at least half of it, at most all of it.
        bucket = int(time.time() / max(self._seen_seconds / 2, 1))
        return keys.seen(bucket), keys.seen(bucket - 1)

    async def append(self, shard: int, items: Sequence[Appendable], *, backlog_max: int = 0) -> list[bool]:
        """Append what was not seen before; return for each item whether it was new.

        Raises BacklogFullError when nothing was done for lack of room, or redis-py's error when Redis did not answer, or too
        few replicas did.
        """
        keys = self.keys[shard]
        args: list[Any] = [backlog_max, self._seen_seconds]
        for item in items:
            args += (
                event_digest(item.source, item.provider_event_id),
                item.source,
                item.provider_event_id,
                item.meta,
                item.payload,
            )
        answer = await self._move_replicated("append", [keys.events, keys.retry, keys.ledger, *self._seen(keys)], args)
        if answer[0] == 0:
            raise BacklogFullError(answer[1])
        return [flag == 1 for flag in answer[1:]]

    async def replay(self, shard: int, items: Sequence[tuple[Appendable, bytes, int]]) -> list[bool]:
        """Append letters past the early dedupe; an item is (event, delivery id as bytes, number of this replay)."""
        keys = self.keys[shard]
        args: list[Any] = [REPLAYED_SECONDS]
        bucket = int(time.time() / (REPLAYED_SECONDS / 2))
        remembered = keys.replayed(bucket), keys.replayed(bucket - 1)
        for item, delivery_id, replay in items:
            digest = replay_digest(delivery_id, replay)
            args += (digest, item.source, item.provider_event_id, item.meta, item.payload)
        answer = await self._move("replay", [keys.events, keys.ledger, *remembered], args)
        return [flag == 1 for flag in answer]

    async def unbox(self, shard: int, items: Sequence[Appendable]) -> list[bool]:
        """Append rows of the inbox, in order, whatever the backlog; return for each whether it was appended by this call.

        Not appended: a row that was before, by any mover; and an event the gate has seen, which has its delivery already.
        """
        keys = self.keys[shard]
        bucket = int(time.time() / (UNBOXED_SECONDS / 2))
        remembered = keys.unboxed(bucket), keys.unboxed(bucket - 1), keys.unboxed(bucket + 1)
        args: list[Any] = [self._seen_seconds, UNBOXED_SECONDS]
        for item in items:
            args += (
                row_digest(item.source, item.provider_event_id, item.meta),
                event_digest(item.source, item.provider_event_id),
                item.source,
                item.provider_event_id,
                item.meta,
                item.payload,
            )
        answer = await self._move_replicated("unbox", [keys.events, keys.ledger, *self._seen(keys), *remembered], args)
        return [flag == 1 for flag in answer]

    async def settle(self, shard: int, settlements: Sequence[Settlement]) -> Settled:
        """Move each entry to its place; return how many this call moved, and the retries whose content is gone."""
        keys = self.keys[shard]
        names = [keys.events, keys.retry, keys.due, keys.ledger]
        index: dict[str, int] = {}
        args: list[Any] = [GROUP, self._waiting_ttl_seconds]
        for item in settlements:
            position = 0
            if item.held or item.waiting_for is not None:
                name = keys.held(item.source) if item.held else keys.waiting(item.waiting_for or "")
                if name not in index:
                    names.append(name)
                    index[name] = len(names)
                position = index[name]
            restored = item.outcome == "retry" and item.payload is not None
            outcome = "restore" if restored else item.outcome
            args += (item.entry_id, outcome, item.source, item.meta, item.delay_ms, position)
            if restored:
                args += (item.provider_event_id, item.payload)
        count, gone = await self._move("settle", names, args)
        return Settled(count, gone)

    async def reenter(self, shard: int, *, count: int, room: int, floor: int, bytes_max: int) -> Reentered:
        """Move due retries back to the events stream, so many that live traffic need not queue behind them.

        At most ``count``, and no more than bring the events stream to ``room`` entries, but ``floor`` of them in any
        case; none once ``bytes_max`` of them were moved.
        """
        keys = self.keys[shard]
        names = [keys.events, keys.retry, keys.due, keys.waiting_prefix, keys.held_prefix]
        moved, next_ms, lost, more = await self._move("reenter", names, [count, room, floor, bytes_max])
        return Reentered(moved, None if next_ms < 0 else next_ms, lost, more == 1)

    async def mend(self, shard: int) -> int:
        """Make due now what stands on the retry stream without a due time, and would for ever; return how many.

        Where as many have a due time as stand there it looks no further.
        """
        keys = self.keys[shard]
        mended = 0
        cursor = b""
        count: int
        while True:
            args = [cursor, MENDED_MAX, MENDED_BYTES_MAX]
            count, cursor = await self._move("mend", [keys.retry, keys.due], args)
            mended += count
            if not cursor:
                return mended

    async def release(self, parents: Iterable[str]) -> int:
        """Make the orphans of ``parents`` due now, on every shard; return how many were waiting."""
        return sum([await self._release(keys, keys.waiting(parent)) for parent in parents for keys in self.keys])

    async def resume(self, source: str, *, wanted: Callable[[], bool] = lambda: True) -> int:
        """Make due now, on every shard, what waits until ``source`` is resumed; return how many were waiting.

        A million take a while: ``wanted`` is asked between steps, and ends it when the answer is no.
        """
        return sum([await self._release(keys, keys.held(source), wanted) for keys in self.keys])

    async def _release(self, keys: Keys, waiting: str, wanted: Callable[[], bool] = lambda: True) -> int:
        released = 0
        while wanted():
            taken: int = await self._move("release", [waiting, keys.due], [RELEASED_MAX])
            released += taken
            if taken < RELEASED_MAX:
                break
        return released

    async def held(self, source: str) -> int:
        """Return how many deliveries wait until ``source`` is resumed.

        Fewer than there are when the set has expired since, no worker having run for an hour or more: the first one that
        does parks them anew.
        """
        return sum([await self._held(keys.held(source)) for keys in self.keys])

    async def _held(self, name: str) -> int:
        # Repeated: it only looks.
        return await self._repeat(lambda: self.client.scard(name))

    async def turn(self, shard: int, what: str, holder: str, *, ttl_ms: int) -> bool:
        """Tell whether ``holder`` is the one in the fleet to do ``what`` now; nobody is again within ``ttl_ms``."""
        key = self.keys[shard].turn(what)
        # Repeated: when the first answer was lost the second says no, and one turn is skipped.
        return bool(await self._repeat(lambda: self.client.set(key, holder, nx=True, px=ttl_ms)))

    async def begin_epoch(self, shard: int) -> None:
        """Give this life of the shard's data a name, unless it has one."""
        await self._move("epoch", [self.keys[shard].epoch], [uuid.uuid4().hex])

    async def audit(self, shard: int) -> ShardState:
        """Return one consistent look at ``shard``."""
        keys = self.keys[shard]
        ledger, events, retry, pending, due, oldest_event, oldest_retry, now_ms, epoch = await self._move(
            "audit", [keys.events, keys.retry, keys.due, keys.ledger, keys.epoch], [GROUP]
        )
        counts: dict[tuple[str, str], int] = {}
        for name, value in zip(ledger[::2], ledger[1::2], strict=True):
            count, _, source = name.decode().partition(":")
            counts[count, source] = int(value)
        epoch_name, _, since_ms = epoch.decode("utf-8", "replace").partition(" ")
        return ShardState(
            shard,
            counts,
            events,
            retry,
            pending,
            due,
            _age(oldest_event, now_ms),
            _age(oldest_retry, now_ms),
            epoch_name or None,
            int(since_ms) if since_ms.isdigit() else 0,
            now_ms,
        )


def _age(entry_id: bytes, now_ms: int) -> int | None:
    return max(0, now_ms - int(entry_id.split(b"-")[0])) if entry_id else None
