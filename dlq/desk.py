"""What a person can see and do, behind both the API and the console."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from aiolimiter import AsyncLimiter
from redis.exceptions import ResponseError

from dlq import audit, events, letters
from dlq import replay as replaying
from dlq.events import Found
from dlq.letters import Filter, Letter, Stat
from dlq.overview import Consumer, Overview, overview
from tidegate.ledger import Audit
from tidegate.postgres import Pool
from tidegate.stream import Stream
from tidegate.telemetry import logs

log = logs.get(__name__)

IDS_MAX = 100
"""Letters in one change; more is a job for `tidegate dlq`, which shows how far it is."""
CHANGES_PER_SECOND = 10
_TOGETHER = 20
"""Letters read at once: each may hold a payload of MiBs that a list does not show."""

Place = tuple[datetime, UUID]
"""Where a page ends: created_at and id of its last letter."""


class TooManyChangesError(Exception):
    """Changes come faster than CHANGES_PER_SECOND; nothing was done."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of the ids that were given; ``skipped`` are letters in a status that this change does not take."""

    changed: list[UUID]
    unknown: list[UUID]
    skipped: list[UUID]


class Desk:
    """The letters in Postgres and the streams on Redis. Raises redis-py's and psycopg's errors as they come."""

    def __init__(self, stream: Stream, pool: Pool) -> None:
        self._stream = stream
        self._pool = pool
        self._limiter = AsyncLimiter(CHANGES_PER_SECOND, 1)

    async def page(
        self, wanted: Filter, *, limit: int, before: Place | None = None
    ) -> tuple[list[Letter], Place | None]:
        """Return letters newest first, their payloads left out, and where the next page goes on (None: nowhere)."""
        found: list[Letter] = []
        async with self._pool.connection() as connection:
            places = await letters.keys(connection, wanted, limit=limit + 1, before=before)
            ids = [letter_id for _, letter_id in places[:limit]]
            for at in range(0, len(ids), _TOGETHER):
                found += [
                    replace(letter, payload=b"") for letter in await letters.get(connection, ids[at : at + _TOGETHER])
                ]
        return found, places[limit - 1] if len(places) > limit else None

    async def letter(self, letter_id: UUID) -> Letter | None:
        """Return one letter whole."""
        async with self._pool.connection() as connection:
            found = await letters.get(connection, [letter_id])
        return found[0] if found else None

    async def stats(self, wanted: Filter) -> list[Stat]:
        """Return counts by source, reason and status."""
        async with self._pool.connection() as connection:
            return await letters.stats(connection, wanted)

    async def find(self, source: str, provider_event_id: str) -> Found | None:
        """Return where an event is, or None when Postgres has never seen it."""
        async with self._pool.connection() as connection:
            return await events.find(connection, source, provider_event_id)

    async def audit(self) -> Audit:
        """Return both sides of the ledger."""
        async with self._pool.connection() as connection:
            return await audit.take(self._stream, connection)

    async def overview(self) -> Overview:
        """Return the state of everything at a glance."""
        async with self._pool.connection() as connection:
            verdict = await audit.take(self._stream, connection)
            stats = await letters.stats(connection, Filter(status="open"))
        return overview(verdict, await audit.shards(self._stream), stats)

    async def consumers(self) -> list[Consumer]:
        """Return the workers of each shard; none where no worker has ever been."""
        found: list[Consumer] = []
        for shard in range(len(self._stream.keys)):
            try:
                rows = await self._stream.consumers(shard)
            except ResponseError as error:
                if not str(error).startswith(("no such key", "NOGROUP")):
                    raise
                continue
            found += [
                Consumer(shard, row["name"].decode("utf-8", "replace"), row["pending"], row["idle"]) for row in rows
            ]
        return sorted(found, key=lambda consumer: (consumer.shard, consumer.name))

    async def replay(self, ids: Sequence[UUID]) -> Changed:
        """Put open letters back on the stream; those a cut-off replay left ``replaying`` go again, which doubles nothing.

        Raises TooManyChangesError.
        """
        await self._admit()
        # A connection of its own: `replay` commits before it talks to Redis, and inside a transaction it could not.
        async with self._pool.connection() as connection:
            gone = await replaying.replay(self._stream, connection, ids)
        return await self._changed("replayed", ids, gone)

    async def discard(self, ids: Sequence[UUID]) -> Changed:
        """Give open letters up. Raises TooManyChangesError."""
        await self._admit()
        async with self._pool.connection() as connection:
            gone = await letters.discard(connection, ids)
        return await self._changed("discarded", ids, gone)

    async def _admit(self) -> None:
        if not self._limiter.has_capacity():
            raise TooManyChangesError
        await self._limiter.acquire()

    async def _changed(self, verb: str, ids: Sequence[UUID], gone: Sequence[UUID]) -> Changed:
        changed = set(gone)
        rest = [letter_id for letter_id in ids if letter_id not in changed]
        known: set[UUID] = set()
        async with self._pool.connection() as connection:
            for at in range(0, len(rest), _TOGETHER):
                known.update(letter.id for letter in await letters.get(connection, rest[at : at + _TOGETHER]))
        result = Changed(
            changed=[letter_id for letter_id in ids if letter_id in changed],
            unknown=[letter_id for letter_id in rest if letter_id not in known],
            skipped=[letter_id for letter_id in rest if letter_id in known],
        )
        log.info(f"letters {verb}", count=len(result.changed), unknown=len(result.unknown), skipped=len(result.skipped))
        return result
