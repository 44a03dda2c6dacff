"""After the commit: each entry to its place on the streams, parents released, everything counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from consumer.apply import Applied
from consumer.handling import handler_errors
from consumer.outcome import PAUSED, Decided, Outcome
from consumer.reading import Read
from tidegate.handlers import Handlers
from tidegate.postgres import Pool, borrowed
from tidegate.stream import Settlement, Stream
from tidegate.telemetry import logs, metrics
from tidegate.wire import Entry, encode_meta

log = logs.get(__name__)

LOOKUP_SECONDS = 20.0
"""Limit of one look for parents: the schedule is the backstop."""


class Settler:
    """Settles what was applied. Dying before or in the middle is safe: the entries are recognised when they come again."""

    def __init__(self, stream: Stream, pool: Pool, handlers: Handlers) -> None:
        self.stream = stream
        self._pool = pool
        self._handlers = handlers

    async def settle(self, read: Sequence[Read], applied: Applied) -> Counter[Outcome]:
        """Settle the entries of ``read`` as ``applied`` says; return how many had which outcome.

        Raises redis-py's errors: call again, what was done is not done twice.
        """
        outcomes: Counter[Outcome] = Counter()
        by_shard: dict[int, list[tuple[Read, Settlement]]] = {}
        for item in read:
            settlement, outcome = _settlement(item, applied)
            outcomes[outcome] += 1
            by_shard.setdefault(item.entry.shard, []).append((item, settlement))
        for shard, items in by_shard.items():
            await self._settle(shard, items)
        released = applied.released | await self._committed_meanwhile(applied.decided.values())
        if released:
            await self.stream.release(released)
        now_ms = time.time_ns() // 1_000_000
        for item in read:
            _count(item, applied, now_ms)
        return outcomes

    async def _settle(self, shard: int, items: Sequence[tuple[Read, Settlement]]) -> None:
        settled = await self.stream.settle(shard, [settlement for _, settlement in items])
        if not settled.gone:
            return
        log.error("entries to be retried had been deleted from the stream by another hand", count=len(settled.gone))
        gone = set(settled.gone)
        again = [
            replace(
                settlement, provider_event_id=item.delivery.event.provider_event_id, payload=item.delivery.event.payload
            )
            for item, settlement in items
            if settlement.entry_id in gone and item.delivery is not None
        ]
        await self.stream.settle(shard, again)  # from what we hold of them

    async def _committed_meanwhile(self, decided: Iterable[Decided]) -> set[str]:
        """Return the parents of parked orphans that exist by now: one may have been committed before they were parked."""
        by_kind: dict[str, set[str]] = {}
        for item in decided:
            if item.waiting_for is not None:
                by_kind.setdefault(item.waiting_for.partition(":")[0], set()).add(item.waiting_for)
        found: set[str] = set()
        for kind, names in by_kind.items():
            lookup = self._handlers.parents.get(kind)
            if lookup is None:
                continue
            try:
                async with borrowed(self._pool, LOOKUP_SECONDS) as connection:
                    async with handler_errors(connection, LOOKUP_SECONDS):
                        found.update(await lookup(list(names), connection))
            except Exception as error:
                # The schedule is the backstop; an orphan that waits for it is late, not lost.
                log.warning("could not look for parents again", kind=kind, error=str(error))
        return found


def _settlement(item: Read, applied: Applied) -> tuple[Settlement, Outcome]:
    entry, delivery = item.entry, item.delivery
    if delivery is None:
        assert item.death is not None
        log.warning("an entry that is no delivery became a letter", entry=entry.entry_id, error=item.death.error)
        # What bears a version came through a gate and was counted there, whatever is wrong with it now.
        outcome = "dead" if _came_through_a_gate(entry) else "foreign"
        return Settlement(entry.entry_id, outcome, item.death.delivery.event.source), Outcome.DEAD
    decided = applied.decided[delivery.event.delivery_id]
    source = decided.delivery.event.source
    if decided.outcome is not Outcome.RETRY:
        return Settlement(entry.entry_id, decided.outcome.value, source), decided.outcome
    meta = encode_meta(decided.delivery)
    held = decided.reason == PAUSED
    retry = Settlement(entry.entry_id, "retry", source, meta, decided.delay_ms, decided.waiting_for, held=held)
    return retry, decided.outcome


def _came_through_a_gate(entry: Entry) -> bool:
    return b"v" in entry.fields[::2]


def _count(item: Read, applied: Applied, now_ms: int) -> None:
    if item.delivery is None:
        assert item.death is not None
        metrics.EVENTS.labels(metrics.source_label(item.death.delivery.event.source), Outcome.DEAD.value).inc()
        return
    decided = applied.decided[item.delivery.event.delivery_id]
    event = decided.delivery.event
    source = metrics.source_label(event.source)
    metrics.EVENTS.labels(source, decided.outcome.value).inc()
    if decided.outcome is Outcome.RETRY:
        metrics.RETRIES.labels(source, decided.reason).inc()
    elif decided.outcome is Outcome.APPLIED:
        metrics.END_TO_END_SECONDS.observe(max(0, now_ms - event.received_at_ms) / 1000)
