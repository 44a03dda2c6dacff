"""The only SQL of the tables `inbox` and `inbox_meter`: what was accepted while Redis was away.

A gate adds (`store`); a worker moves the oldest rows to the streams and removes them (`is_empty`, `take_turn`, `oldest`, `remove`
in one transaction); the audit looks (`state`). Every change of the rows changes the meter in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.errors import UsageError
from tidegate.postgres import Connection
from tidegate.stream import Appendable

STORE_IDLE_MS = 5000
"""A gate that is stopped in the middle of `store` holds the meter, and so all other gates, no longer than this."""
_MOVER = (0x7469_6465, 1)
"""The advisory lock of whoever moves rows; "tide"."""


class InboxFullError(Exception):
    """There is no room for the whole call: nothing of it was stored."""


@dataclass(frozen=True, slots=True)
class Boxed:
    """A row: its number and what the gate would have appended."""

    id: int
    item: Appendable


@dataclass(frozen=True, slots=True)
class InboxState:
    """What the meter says, and what is there. ``bytes`` are of meta and payload, ``oldest_seconds`` is None when empty."""

    rows: int = 0
    bytes: int = 0
    stored_total: int = 0
    moved_total: int = 0
    counted_rows: int = 0
    oldest_seconds: float | None = None

    @property
    def missing(self) -> int:
        """How many rows another hand took out (below 0: put in)."""
        return self.stored_total - self.moved_total - self.counted_rows


_ROOM = """
SELECT rows, bytes, set_config('idle_in_transaction_session_timeout', %s, true) FROM inbox_meter
"""

# Numbered as they arrived, inserted in the order of identity: two gates that store the same events then wait for each other
# instead of deadlocking.
_INSERT = """
WITH arrived AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('inbox', 'id')) AS id, s, i, m, p
    FROM unnest(%b::text[], %b::text[], %b::bytea[], %b::bytea[]) AS u (s, i, m, p)
)
INSERT INTO inbox (id, source, provider_event_id, meta, payload) OVERRIDING SYSTEM VALUE
SELECT id, s, i, m, p FROM arrived ORDER BY s, i
ON CONFLICT (source, provider_event_id) DO NOTHING
RETURNING source, provider_event_id, octet_length(meta) + octet_length(payload)
"""

_ADD = """
UPDATE inbox_meter SET rows = rows + %(rows)s, bytes = bytes + %(bytes)s, stored_total = stored_total + %(rows)s
WHERE rows + %(rows)s <= %(rows_max)s AND bytes + %(bytes)s <= %(bytes_max)s
"""

_OLDEST = """
WITH first AS (
    SELECT id, octet_length(meta) + octet_length(payload) AS size FROM inbox ORDER BY id LIMIT %b
), fitting AS (
    SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM first
)
SELECT id, source, provider_event_id, meta, payload
FROM inbox JOIN fitting USING (id) WHERE before < %b ORDER BY id
"""

_REMOVE = "DELETE FROM inbox WHERE id = ANY(%b::bigint[]) RETURNING octet_length(meta) + octet_length(payload)"

_SUBTRACT = """
UPDATE inbox_meter SET rows = rows - %(rows)s, bytes = bytes - %(bytes)s, moved_total = moved_total + %(rows)s
"""

# In one statement, and so in one snapshot.
_STATE = """
SELECT rows, bytes, stored_total, moved_total, (SELECT count(*) FROM inbox),
       (SELECT extract(epoch FROM clock_timestamp() - received_at)::float8 FROM inbox ORDER BY id LIMIT 1)
FROM (VALUES (1)) AS always LEFT JOIN inbox_meter ON true
"""


async def store(connection: Connection, items: Sequence[Appendable], *, rows_max: int, bytes_max: int) -> list[bool]:
    """Store what is not in the inbox yet, in one transaction; return for each item whether it was new.

    ``connection`` must be in no transaction. The bounds hold exactly over all gates. Raises InboxFullError when there is no
    room for all that is new, or none at all, and psycopg's errors; then nothing of the call was stored, save when the
    answer to the commit was lost: sent again, it is found there.
    """
    first: dict[tuple[str, str], Appendable] = {}
    for item in items:
        first.setdefault((item.source, item.provider_event_id), item)
    if not first:
        return []
    async with connection.transaction():
        cursor = await connection.execute(_ROOM, [str(STORE_IDLE_MS)])
        meter = await cursor.fetchone()
        if meter is None:
            raise UsageError("the table inbox_meter has lost its row: run `tidegate init`")
        if meter[0] >= rows_max or meter[1] >= bytes_max:
            raise InboxFullError  # before hundreds of rows are inserted only to be taken back, again and again
        new, size = await _insert(connection, list(first.values()))
        if new:
            bounds = {"rows": len(new), "bytes": size, "rows_max": rows_max, "bytes_max": bytes_max}
            # Last: from here on to the commit every other gate waits for us.
            if (await connection.execute(_ADD, bounds)).rowcount != 1:
                raise InboxFullError
    flags = []
    for item in items:
        identity = (item.source, item.provider_event_id)
        flags.append(identity in new)
        new.discard(identity)
    return flags


async def _insert(connection: Connection, items: Sequence[Appendable]) -> tuple[set[tuple[str, str]], int]:
    """Insert ``items``; return the identities of those that were not there, and their bytes."""
    cursor = await connection.execute(
        _INSERT,
        [
            [item.source for item in items],
            [item.provider_event_id for item in items],
            [item.meta for item in items],
            [item.payload for item in items],
        ],
        binary=True,
    )
    rows = await cursor.fetchall()
    return {(source, name) for source, name, _ in rows}, sum(size for _, _, size in rows)


async def is_empty(connection: Connection) -> bool:
    """Tell what the meter says. Looking at the rows would walk over all that were moved and not vacuumed yet."""
    cursor = await connection.execute("SELECT rows FROM inbox_meter")
    row = await cursor.fetchone()
    return row is not None and row[0] == 0


async def take_turn(connection: Connection) -> bool:
    """Tell whether this transaction is the one that moves rows now; until it ends no other is."""
    cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", _MOVER)
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def oldest(connection: Connection, *, count: int, bytes_max: int) -> list[Boxed]:
    """Return up to ``count`` rows, the oldest first, and no more once ``bytes_max`` is reached."""
    cursor = await connection.execute(_OLDEST, [count, bytes_max], binary=True)
    return [Boxed(number, Appendable(*rest)) for number, *rest in await cursor.fetchall()]


async def remove(connection: Connection, ids: Sequence[int]) -> int:
    """Take out rows that are on a stream by now; return how many were there."""
    cursor = await connection.execute(_REMOVE, [list(ids)], binary=True)
    sizes = [row[0] for row in await cursor.fetchall()]
    await connection.execute(_SUBTRACT, {"rows": len(sizes), "bytes": sum(sizes)})
    return len(sizes)


async def state(connection: Connection) -> InboxState:
    """Return how the inbox is, counted."""
    cursor = await connection.execute(_STATE)
    row = await cursor.fetchone()
    assert row is not None
    rows, size, stored, moved, counted, oldest_seconds = row
    return InboxState(rows or 0, size or 0, stored or 0, moved or 0, counted, oldest_seconds)
