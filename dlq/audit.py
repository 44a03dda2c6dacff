"""The ledger's verdict, read from both sides."""

from __future__ import annotations

from dlq import letters
from tidegate import ledger
from tidegate.ledger import Audit
from tidegate.postgres import Connection
from tidegate.stream import ShardState, Stream


async def shards(stream: Stream) -> list[ShardState]:
    """Return a look at every shard, each consistent in itself."""
    return [await stream.audit(shard) for shard in range(len(stream.keys))]


async def take(stream: Stream, connection: Connection) -> Audit:
    """Read both sides: the streams, then Postgres in one snapshot, then the streams again."""
    before = await shards(stream)
    stored = await letters.stored(connection)
    return ledger.judge(before, stored, await shards(stream))
