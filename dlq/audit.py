"""Reading both sides of the ledger."""

from __future__ import annotations

from dlq import letters
from tidegate import ledger
from tidegate.ledger import Audit
from tidegate.postgres import Connection
from tidegate.stream import Stream


async def take(stream: Stream, connection: Connection) -> Audit:
    """Read the streams, then Postgres in one snapshot, then the streams again; return the verdict."""
    before = [await stream.audit(shard) for shard in range(len(stream.keys))]
    stored = await letters.stored(connection)
    after = [await stream.audit(shard) for shard in range(len(stream.keys))]
    return ledger.judge(before, stored, after)
