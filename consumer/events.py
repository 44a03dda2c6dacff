"""The only SQL of the `events` table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from tidegate.event import Delivery, Event
from tidegate.postgres import Connection


class Row(NamedTuple):
    """What is known of an event that was there before."""

    delivery_id: UUID
    outcome: str


_INSERT = """
INSERT INTO events
    (source, provider_event_id, event_type, occurred_at, received_at, key, delivery_id, outcome, payload)
SELECT s, i, t, to_timestamp(o / 1000.0), to_timestamp(r / 1000.0), k, d, c, convert_from(p, 'UTF8')::jsonb
FROM unnest(%b::text[], %b::text[], %b::text[], %b::float8[], %b::float8[], %b::text[], %b::uuid[], %b::text[], %b::bytea[])
    AS u (s, i, t, o, r, k, d, c, p)
ON CONFLICT (source, provider_event_id) DO NOTHING
RETURNING delivery_id
"""

_EXISTING = """
SELECT e.source, e.provider_event_id, e.delivery_id, e.outcome
FROM unnest(%b::text[], %b::text[]) AS u (s, i)
JOIN events AS e ON e.source = u.s AND e.provider_event_id = u.i
"""

_REMOVE = """
DELETE FROM events AS e USING unnest(%b::text[], %b::text[]) AS u (s, i)
WHERE e.source = u.s AND e.provider_event_id = u.i
"""

_IGNORE = """
UPDATE events AS e SET outcome = 'ignored' FROM unnest(%b::text[], %b::text[]) AS u (s, i)
WHERE e.source = u.s AND e.provider_event_id = u.i
"""


async def insert(
    connection: Connection,
    deliveries: Sequence[Delivery],
    outcomes: Sequence[str],
    *,
    without_payload: bool = False,
) -> set[UUID]:
    """Insert the events that are not there yet; return the delivery ids of those that were not.

    ``deliveries`` must be in the order of their identity: two workers that insert the same events then wait for each
    other instead of deadlocking. Raises psycopg's DataError for a payload jsonb refuses. ``without_payload`` stores
    ``null`` instead: a row that is only held, never kept.
    """
    events = [delivery.event for delivery in deliveries]
    cursor = await connection.execute(
        _INSERT,
        [
            [event.source for event in events],
            [event.provider_event_id for event in events],
            [event.event_type for event in events],
            [float(event.occurred_at_ms) for event in events],
            [float(event.received_at_ms) for event in events],
            [event.key for event in events],
            [event.delivery_id for event in events],
            list(outcomes),
            [b"null" if without_payload else event.payload for event in events],
        ],
        binary=True,
    )
    return {row[0] for row in await cursor.fetchall()}


async def existing(connection: Connection, events: Sequence[Event]) -> dict[tuple[str, str], Row]:
    """Return what is stored of ``events``, by identity."""
    cursor = await connection.execute(_EXISTING, _identities(events), binary=True)
    return {(source, name): Row(delivery, outcome) for source, name, delivery, outcome in await cursor.fetchall()}


async def remove(connection: Connection, events: Sequence[Event]) -> None:
    """Take out rows this transaction inserted: their events did not take effect."""
    await connection.execute(_REMOVE, _identities(events))


async def ignore(connection: Connection, events: Sequence[Event]) -> None:
    """Mark rows this transaction inserted as ``ignored``."""
    await connection.execute(_IGNORE, _identities(events))


def _identities(events: Sequence[Event]) -> list[list[str]]:
    return [[event.source for event in events], [event.provider_event_id for event in events]]
