"""The ledger's verdict, read from both sides."""

from __future__ import annotations

from dataclasses import replace

from dlq import letters
from tidegate import epochs, inbox, ledger
from tidegate.ledger import Audit
from tidegate.postgres import Connection
from tidegate.stream import ShardState, Stream


async def shards(stream: Stream) -> list[ShardState]:
    """Return a look at every shard, each consistent in itself."""
    return [await stream.audit(shard) for shard in range(len(stream.keys))]


async def take(stream: Stream, connection: Connection) -> Audit:
    """Read both sides: the streams, then Postgres, then the streams again.

    Of Postgres the events and letters are read in one snapshot, and the inbox, which is accounted for by itself, in another.
    """
    before = await shards(stream)
    stored = await letters.stored(connection)
    stored = replace(stored, inbox=await inbox.state(connection), epochs=await epochs.known(connection))
    return ledger.judge(before, stored, await shards(stream))
