"""The dead letters: what they are and their only SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from tidegate import jsontext
from tidegate.event import Attempt, Delivery, Event
from tidegate.ledger import Stored
from tidegate.postgres import Connection

Status = Literal["open", "replaying", "resolved", "discarded"]
STATUSES: tuple[Status, ...] = ("open", "replaying", "resolved", "discarded")
REASONS = ("rejected", "invalid", "orphaned", "exhausted", "expired", "crash_loop", "malformed")


@dataclass(frozen=True, slots=True)
class Death:
    """A delivery that cannot be applied, about to become a letter."""

    delivery: Delivery
    reason: str
    error: str
    shard: int


@dataclass(frozen=True, slots=True)
class Letter:
    """A row of dead_letters. ``history`` is oldest first; ``payload`` the bytes as received."""

    id: UUID
    source: str
    provider_event_id: str
    event_type: str
    payload: bytes
    headers: dict[str, str]
    reason: str
    error: str
    attempts: int
    history: list[dict[str, Any]]
    status: Status
    replay_count: int
    delivery_id: UUID
    received_at: datetime
    created_at: datetime
    resolved_at: datetime | None
    meta: dict[str, Any]
    shard: int

    def delivery(self) -> Delivery:
        """Return the delivery that goes back to the stream: the same one again, with its attempts counted anew."""
        event = Event(
            source=self.source,
            provider=str(self.meta.get("provider", "")),
            provider_event_id=self.provider_event_id,
            event_type=self.event_type,
            occurred_at_ms=int(self.meta.get("occurred_ms", self.received_at.timestamp() * 1000)),
            received_at_ms=int(self.received_at.timestamp() * 1000),
            key=str(self.meta.get("key", "")),
            payload=self.payload,
            delivery_id=self.delivery_id,
            headers=self.headers,
        )
        history = tuple(Attempt(past["at_ms"], past["reason"], past["error"]) for past in self.history)
        return Delivery(event, history, self.replay_count, self.meta.get("malformed"))


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters. ``event_type`` takes ``*`` as a glob; times are aware; None means any."""

    source: str | None = None
    event_type: str | None = None
    reason: str | None = None
    status: Status | None = None
    since: datetime | None = None
    until: datetime | None = None

    def where(self) -> tuple[sql.Composable, list[Any]]:
        """Return the condition and its parameters."""
        parts: list[LiteralString] = []
        values: list[Any] = []
        for condition, value in (
            ("source = %s", self.source),
            ("event_type LIKE %s", _like(self.event_type)),
            ("reason = %s", self.reason),
            ("status = %s", self.status),
            ("created_at >= %s", self.since),
            ("created_at < %s", self.until),
        ):
            if value is not None:
                parts.append(condition)
                values.append(value)
        return sql.SQL(" AND ").join(map(sql.SQL, parts)) if parts else sql.SQL("true"), values


def _like(glob: str | None) -> str | None:
    if glob is None:
        return None
    return glob.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")


# A letter that dies again after a replay is the same letter, open once more.
_BURY = """
INSERT INTO dead_letters (source, provider_event_id, event_type, payload, headers, reason, error, attempts, history,
    delivery_id, received_at, meta, shard, replay_count)
VALUES (%(source)s, %(id)s, %(type)s, %(payload)s, %(headers)s, %(reason)s, %(error)s, %(attempts)s, %(history)s,
    %(delivery)s, to_timestamp(%(received_ms)s / 1000.0), %(meta)s, %(shard)s, 0)
ON CONFLICT (delivery_id) DO UPDATE SET status = 'open', reason = excluded.reason, error = excluded.error,
    attempts = dead_letters.attempts + excluded.attempts, history = excluded.history, created_at = now()
WHERE dead_letters.status = 'replaying' AND dead_letters.replay_count = %(replay)s
"""

_DIED = """
SELECT l.delivery_id FROM unnest(%b::uuid[], %b::int[]) AS u (delivery_id, replay)
JOIN dead_letters AS l ON l.delivery_id = u.delivery_id
WHERE u.replay < l.replay_count OR (u.replay = l.replay_count AND l.status IN ('open', 'discarded'))
"""


async def bury(connection: Connection, deaths: Sequence[Death]) -> None:
    """Write letters, in the transaction that decided their death. Writing one twice changes nothing."""
    async with connection.cursor() as cursor:
        await cursor.executemany(_BURY, [_row(death) for death in deaths])


def _row(death: Death) -> dict[str, Any]:
    delivery, event = death.delivery, death.delivery.event
    meta: dict[str, Any] = {"provider": event.provider, "key": event.key, "occurred_ms": event.occurred_at_ms}
    if delivery.malformed is not None:
        meta["malformed"] = delivery.malformed
    history = [{"at_ms": past.at_ms, "reason": past.reason, "error": past.error} for past in delivery.history]
    return {
        "source": jsontext.storable(event.source),
        "id": jsontext.storable(event.provider_event_id),
        "type": jsontext.storable(event.event_type),
        "payload": event.payload,
        "headers": _jsonb(event.headers),
        "reason": death.reason,
        "error": jsontext.storable(death.error),
        "attempts": event.attempt,
        "history": _jsonb(history),
        "delivery": event.delivery_id,
        "received_ms": event.received_at_ms,
        "meta": _jsonb(meta),
        "shard": death.shard,
        "replay": delivery.replay,
    }


def _jsonb(value: Any) -> Jsonb:
    """Return ``value`` as jsonb takes it: a letter that could not be written would stop its whole batch."""
    return Jsonb(_storable(value), dumps=json.dumps)


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return jsontext.storable(value)
    if isinstance(value, Mapping):
        return {_storable(str(key)): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value


async def died(connection: Connection, deliveries: Sequence[Delivery]) -> set[UUID]:
    """Return the ids of those deliveries that are letters already: their settle was lost, or another worker was faster."""
    ids = [delivery.event.delivery_id for delivery in deliveries]
    replays = [delivery.replay for delivery in deliveries]
    cursor = await connection.execute(_DIED, [ids, replays])
    return {row[0] for row in await cursor.fetchall()}


async def resolve(connection: Connection, delivery_ids: Sequence[UUID]) -> None:
    """Mark replayed letters as resolved, in the transaction that applied their event."""
    await connection.execute(
        "UPDATE dead_letters SET status = 'resolved', resolved_at = now() "
        "WHERE delivery_id = ANY(%s) AND status = 'replaying'",
        [list(delivery_ids)],
    )


async def select(
    connection: Connection,
    wanted: Filter,
    *,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
) -> list[Letter]:
    """Return letters newest first; ``before`` is the (created_at, id) of the last one of the page before."""
    query, values = _page("*", wanted, limit, before)
    async with connection.cursor(row_factory=class_row(Letter)) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall()


async def keys(
    connection: Connection, wanted: Filter, *, limit: int, before: tuple[datetime, UUID] | None = None
) -> list[tuple[datetime, UUID]]:
    """Return the (created_at, id) of letters newest first, without their payloads."""
    query, values = _page("created_at, id", wanted, limit, before)
    cursor = await connection.execute(query, values)
    return [(row[0], row[1]) for row in await cursor.fetchall()]


def _page(
    columns: LiteralString, wanted: Filter, limit: int, before: tuple[datetime, UUID] | None
) -> tuple[sql.Composed, list[Any]]:
    where, values = wanted.where()
    if before is not None:
        where = sql.SQL("{} AND (created_at, id) < (%s, %s)").format(where)
        values += before
    query = sql.SQL("SELECT {} FROM dead_letters WHERE {} ORDER BY created_at DESC, id DESC LIMIT %s")
    return query.format(sql.SQL(columns), where), [*values, limit]


async def get(connection: Connection, ids: Sequence[UUID]) -> list[Letter]:
    """Return the letters with these ids; unknown ids are simply not among them."""
    async with connection.cursor(row_factory=class_row(Letter)) as cursor:
        await cursor.execute(
            "SELECT * FROM dead_letters WHERE id = ANY(%s) ORDER BY created_at DESC, id DESC", [list(ids)]
        )
        return await cursor.fetchall()


async def count(connection: Connection, wanted: Filter) -> int:
    """Return how many letters ``wanted`` names."""
    where, values = wanted.where()
    cursor = await connection.execute(sql.SQL("SELECT count(*) FROM dead_letters WHERE {}").format(where), values)
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def begin_replay(connection: Connection, ids: Sequence[UUID]) -> list[Letter]:
    """Turn open letters to ``replaying`` and return them, with those that were replaying already as they are.

    The latter may have been left behind by a process that died before the stream had them: sending the same replay
    twice is safe, forgetting it is not.
    """
    async with connection.transaction(), connection.cursor(row_factory=class_row(Letter)) as cursor:
        await cursor.execute(
            "UPDATE dead_letters SET status = 'replaying', replay_count = replay_count + 1 "
            "WHERE id = ANY(%(ids)s) AND status = 'open'",
            {"ids": sorted(ids)},
        )
        await cursor.execute(
            "SELECT * FROM dead_letters WHERE id = ANY(%(ids)s) AND status = 'replaying' ORDER BY created_at, id",
            {"ids": sorted(ids)},
        )
        return await cursor.fetchall()


async def discard(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Turn open letters to ``discarded``; return the ids that were open."""
    cursor = await connection.execute(
        "UPDATE dead_letters SET status = 'discarded', resolved_at = now() "
        "WHERE id = ANY(%s) AND status = 'open' RETURNING id",
        [sorted(ids)],
    )
    return [row[0] for row in await cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Stat:
    """How many letters of one source have one reason and status, and since when."""

    source: str
    reason: str
    status: Status
    count: int
    oldest: datetime
    newest: datetime


async def stats(connection: Connection, wanted: Filter) -> list[Stat]:
    """Return counts by source, reason and status."""
    where, values = wanted.where()
    query = sql.SQL(
        "SELECT source, reason, status, count(*), min(created_at) AS oldest, max(created_at) AS newest "
        "FROM dead_letters WHERE {} GROUP BY source, reason, status ORDER BY source, reason, status"
    ).format(where)
    async with connection.cursor(row_factory=class_row(Stat)) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall()


async def open_by_source(connection: Connection) -> dict[str, int]:
    """Return the number of open letters of each source that has any."""
    cursor = await connection.execute("SELECT source, count(*) FROM dead_letters WHERE status = 'open' GROUP BY source")
    return {row[0]: int(row[1]) for row in await cursor.fetchall()}


async def stored(connection: Connection) -> Stored:
    """Return what Postgres holds, for the ledger, in one statement and so in one snapshot."""
    cursor = await connection.execute(
        """
        SELECT (SELECT count(*) FROM events),
               coalesce(sum(deaths), 0)::bigint,
               coalesce(jsonb_object_agg(status, letters), '{}'::jsonb)
        FROM (
            SELECT status, count(*) AS letters,
                   sum(replay_count + (status IN ('open', 'discarded'))::int) AS deaths
            FROM dead_letters GROUP BY status
        ) AS by_status
        """
    )
    row = await cursor.fetchone()
    assert row is not None
    return Stored(events=row[0], deaths=row[1], letters=row[2])
