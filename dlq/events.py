"""Where an event is, by its identity: read-only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from psycopg.rows import class_row

from dlq.letters import Status
from tidegate import jsontext
from tidegate.postgres import Connection

LETTERS_MAX = 20
"""Deliveries of one event that died; more than a few means a provider that repeats itself for ever."""

Where = Literal["applied", "ignored", "dead letter", "replaying"]


@dataclass(frozen=True, slots=True)
class Record:
    """A row of events, without its payload: jsonb holds numbers that JSON for a client could not."""

    event_type: str
    occurred_at: datetime
    received_at: datetime
    applied_at: datetime
    key: str
    delivery_id: UUID
    outcome: Literal["applied", "ignored"]


@dataclass(frozen=True, slots=True)
class Mention:
    """A letter with that identity."""

    id: UUID
    status: Status
    reason: str
    error: str
    delivery_id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """Everything Postgres knows of an event: the row that says it took effect, and its letters, newest first."""

    record: Record | None
    letters: list[Mention]

    @property
    def where(self) -> Where:
        """Where the event is. An event that took effect stays so, even while another delivery of it is a letter."""
        if self.record is not None:
            return self.record.outcome
        return "replaying" if self.letters[0].status == "replaying" else "dead letter"


async def find(connection: Connection, source: str, provider_event_id: str) -> Found | None:
    """Return what is known of an event, or None: still on a stream, or never accepted."""
    identity = [jsontext.storable(source), jsontext.storable(provider_event_id)]
    async with connection.cursor(row_factory=class_row(Record)) as cursor:
        await cursor.execute(
            "SELECT event_type, occurred_at, received_at, applied_at, key, delivery_id, outcome FROM events "
            "WHERE source = %s AND provider_event_id = %s",
            identity,
        )
        record = await cursor.fetchone()
    async with connection.cursor(row_factory=class_row(Mention)) as mentions:
        await mentions.execute(
            "SELECT id, status, reason, error, delivery_id, created_at FROM dead_letters "
            "WHERE source = %s AND provider_event_id = %s ORDER BY created_at DESC, id DESC LIMIT %s",
            [*identity, LETTERS_MAX],
        )
        found = await mentions.fetchall()
    return Found(record, found) if record or found else None
