"""What a worker shows of the whole deployment: gauges, and the line that says that Redis lost its data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dlq import letters
from tidegate import epochs, inbox, ledger
from tidegate.postgres import Connection
from tidegate.resets import resets
from tidegate.stream import ShardState, Stream
from tidegate.telemetry import logs, metrics

log = logs.get(__name__)


async def look(stream: Stream, shard: int) -> ShardState:
    """Return the state of ``shard``, whose epoch has a name from now on, and set its gauges."""
    state = await stream.audit(shard)
    if state.epoch is None:
        await stream.begin_epoch(shard)
        state = await stream.audit(
            shard
        )  # again: what was counted must belong to the epoch under whose name it is kept
    for queue, length, age_ms in (
        ("events", state.events, state.oldest_event_age_ms),
        ("retry", state.retry, state.oldest_retry_age_ms),
    ):
        metrics.BACKLOG.labels(shard, queue).set(length)
        metrics.OLDEST_SECONDS.labels(shard, queue).set((age_ms or 0) / 1000)
    metrics.UNACCOUNTED.labels(shard).set(ledger.shard_balance(state).unaccounted)
    return state


async def measure_letters(connection: Connection) -> None:
    """Set the gauge of open letters."""
    counts: Counter[str] = Counter()
    for source, count in (await letters.open_by_source(connection)).items():
        counts[metrics.source_label(source)] += count
    for source in {*metrics.sources(), *counts}:
        metrics.DEAD_LETTERS_OPEN.labels(source).set(counts[source])


async def measure_inbox(connection: Connection) -> None:
    """Set the gauges of the inbox."""
    state = await inbox.state(connection)
    metrics.INBOX_ROWS.set(state.counted_rows)
    metrics.INBOX_BYTES.set(state.bytes)
    metrics.INBOX_OLDEST_SECONDS.set(state.oldest_seconds or 0)


async def remember(connection: Connection, states: Sequence[ShardState]) -> None:
    """Remember how the shards are, in one transaction; the first in the fleet to see that data is gone says so."""
    async with connection.transaction():
        new = await epochs.record(connection, states)
        if not new:
            return
        losses = resets(await epochs.known(connection), {state.shard: state.epoch for state in states})
        latest = next((loss for loss in reversed(losses) if loss.at is not None and new & set(loss.shards)), None)
        if latest is None:
            return  # seen for the first time: a new shard, or a deployment older than this table
        metrics.REDIS_RESETS.inc()
        # Before the commit: if that fails another worker says it again, which is better than nobody.
        log.error(
            "Redis lost its data: flushed, restored without it, or another one. What waited there is lost, as is what came "
            "after last_seen_at and was not applied: ask the providers to send again what they sent since a little before",
            shards=list(latest.shards),
            last_seen_at=latest.last_at.isoformat(),
            accepted=latest.accepted,
            waiting=latest.waiting,
            retrying=latest.retrying,
        )
