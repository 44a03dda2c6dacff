"""The only SQL of the table `redis_epochs`: the lives of the data on each shard of Redis, and how each was when last seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from tidegate.postgres import Connection
from tidegate.resets import Epoch, counts
from tidegate.stream import ShardState

# In the order of shards, so that two workers wait for each other instead of deadlocking. A look that was slow to arrive must
# not replace a later one. A row that this transaction inserted bears the time at which it began.
_RECORD = """
INSERT INTO redis_epochs AS known (shard, epoch, began_at, last_at, last_seen)
SELECT * FROM unnest(%s::int[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::jsonb[]) AS u (s, e, b, l, c)
ORDER BY s
ON CONFLICT (shard, epoch) DO UPDATE SET last_at = excluded.last_at, last_seen = excluded.last_seen
WHERE known.last_at <= excluded.last_at
RETURNING shard, first_seen_at = now()
"""


async def record(connection: Connection, states: Sequence[ShardState]) -> set[int]:
    """Remember each look in ``states`` at a shard whose epoch has a name; return the shards whose epoch is new here.

    Of two workers that see it at once only one is told so: the other waits for its transaction.
    """
    named = [state for state in states if state.epoch is not None]
    if not named:
        return set()
    cursor = await connection.execute(
        _RECORD,
        [
            [state.shard for state in named],
            [state.epoch for state in named],
            [_time(state.epoch_ms or state.now_ms) for state in named],
            [_time(state.now_ms) for state in named],
            [Jsonb(counts(state)) for state in named],
        ],
    )
    return {shard for shard, is_new in await cursor.fetchall() if is_new}


async def known(connection: Connection) -> tuple[Epoch, ...]:
    """Return every epoch ever seen."""
    async with connection.cursor(row_factory=class_row(Epoch)) as cursor:
        await cursor.execute("SELECT shard, epoch, began_at, first_seen_at, last_at, last_seen FROM redis_epochs")
        return tuple(await cursor.fetchall())


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
