"""What stands on one shard, read from Redis by plain commands, and the names by which the model knows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from redis.exceptions import ResponseError

from tidegate.ledger import shard_balance
from tidegate.stream import GROUP, Client, ShardState, Stream

HELD = "held source shop"
"""Stands, among the parents, for what waits until its source is resumed."""
PARENTS = ("p:1", "p:2", HELD)
"""All that any retry waits for."""
Labelled = list[tuple[bytes, str]]


@dataclass(frozen=True)
class Snapshot:
    """One shard. Both streams as (id, label); ``pending`` as (id, consumer, deliveries); ``waiting`` counts by parent."""

    events: Labelled
    retry: Labelled
    due: dict[bytes, float]
    pending: list[tuple[bytes, str, int]]
    waiting: dict[str, int]
    state: ShardState

    @property
    def counts(self) -> Counter[str]:
        """The ledger, over all sources."""
        counts: Counter[str] = Counter()
        for (name, _), value in self.state.ledger.items():
            counts[name] += value
        return counts

    @property
    def unaccounted(self) -> int:
        return shard_balance(self.state).unaccounted


async def take(client: Client, stream: Stream, shard: int) -> Snapshot:
    """Read ``shard``; only exact while nobody else writes."""
    keys = stream.keys[shard]
    async with client.pipeline(transaction=False) as pipe:
        pipe.xrange(keys.events)
        pipe.xrange(keys.retry)
        pipe.zrange(keys.due, 0, -1, withscores=True)
        pipe.execute_command("XPENDING", keys.events, GROUP, "-", "+", 10_000)
        for parent in PARENTS:
            pipe.scard(keys.held("shop") if parent == HELD else keys.waiting(parent))
        events, retry, due, pending, *waiting = await pipe.execute(raise_on_error=False)
    if isinstance(pending, ResponseError):
        assert str(pending).startswith("NOGROUP")
        pending = []
    return Snapshot(
        [(entry_id, label_of(fields)) for entry_id, fields in events],
        [(entry_id, label_of(fields)) for entry_id, fields in retry],
        dict(due),
        [(entry_id, consumer.decode(), count) for entry_id, consumer, _, count in pending],
        dict(zip(PARENTS, waiting, strict=True)),
        await stream.audit(shard),
    )


def label_of(fields: dict[bytes, bytes] | Sequence[bytes]) -> str:
    """Return by what the model knows an entry: its payload, or what it says instead."""
    named = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
    if b"lost" in named:
        return marker_label(named[b"queue"].decode(), named[b"lost"])
    return (named.get(b"payload") or named[b"hello"]).decode()


def marker_label(queue: str, entry_id: bytes) -> str:
    """Return the label of the marker for what was lost from ``queue``."""
    return f"lost {queue} {entry_id.decode()}"
