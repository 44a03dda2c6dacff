"""What the tests of the moves do again and again."""

from __future__ import annotations

from typing import cast

from tests.fixtures import appendable, event
from tidegate.ledger import shard_balance
from tidegate.stream import GROUP, Client, Reentered, Settlement, Stream

PLENTY = 1 << 30


async def read(stream: Stream, client: Client, consumer: str = "w1", shard: int = 0) -> list[bytes]:
    """Read what is there for ``consumer``; return the ids."""
    await stream.ensure_group(shard)
    entries = await stream.read(client, consumer, count=100, block_ms=None, shards=[shard])
    return [entry.entry_id for entry in entries]


async def send(stream: Stream, client: Client, *names: str, payload: bytes = b"{}") -> list[bytes]:
    """Append an event of each name to shard 0 and let `w1` read them; return the ids."""
    await stream.append(0, [appendable(event(name, payload=payload)) for name in names])
    return await read(stream, client)


async def park(stream: Stream, client: Client, *names: str, delay_ms: int = 0, payload: bytes = b"{}") -> None:
    """Bring an event of each name to the retry stream of shard 0."""
    ids = await send(stream, client, *names, payload=payload)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", delay_ms) for entry_id in ids])


async def reenter(
    stream: Stream, shard: int = 0, *, count: int = 10, room: int = PLENTY, floor: int = 0, bytes_max: int = PLENTY
) -> Reentered:
    """Move due retries back, without any limit that is not given."""
    return await stream.reenter(shard, count=count, room=room, floor=floor, bytes_max=bytes_max)


async def unaccounted(stream: Stream) -> int:
    """Return how many deliveries are not where the ledger says, over all shards."""
    return sum([abs(shard_balance(await stream.audit(shard)).unaccounted) for shard in range(len(stream.keys))])


async def deliveries(client: Client, stream: Stream, shard: int = 0) -> dict[bytes, tuple[str, int]]:
    """Return for each pending id who holds it and its delivery count, as Redis itself tells."""
    rows = await client.execute_command("XPENDING", stream.keys[shard].events, GROUP, "-", "+", 1000)  # type: ignore[no-untyped-call]
    return {row[0]: (row[1].decode(), row[3]) for row in rows}


async def fields(client: Client, key: str) -> list[dict[bytes, bytes]]:
    """Return the fields of each entry of the stream ``key``."""
    return [held for _, held in cast(list[tuple[bytes, dict[bytes, bytes]]], await client.xrange(key))]


async def due(client: Client, stream: Stream) -> list[bytes]:
    """Return the ids that have a due time on shard 0, the nearest first."""
    return cast(list[bytes], await client.zrange(stream.keys[0].due, 0, -1))
