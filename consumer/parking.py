"""Deliveries of sources that are on hold: which of a part they are, and how they wait. Pure.

They wait on the retry stream, each under the name of its source, so that resuming makes them due at once. Their own due time
is the backstop: far away and spread, or a million of them would come by and be parked again all the time, and all at once.
No attempt is consumed, nothing is added to their history, and the wait does not count as age.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

from consumer.outcome import PAUSED, Decided, Outcome
from consumer.part import Part
from consumer.reading import Read
from tidegate.event import Delivery

DELAY_MS_MAX = 4 * 3_600_000
"""Parked again after this at the latest, and after half of it at the earliest."""


def is_held(item: Read, held: frozenset[str]) -> bool:
    """Tell whether ``item`` is to wait. A stranger's entry bears no source that could be believed."""
    return item.delivery is not None and item.delivery.event.source in held


def apart(part: Part, held: frozenset[str], now_ms: int) -> tuple[Sequence[Read], Part]:
    """Return what is to wait, and ``part`` without it."""
    waiting = [item for item in part.read if is_held(item, held)] if held else []
    if not waiting and not any(_was_held(item) for item in part.read):
        return waiting, part
    rest = [item for item in part.read if not is_held(item, held)]
    return waiting, replace(part, read=[_resumed(item, now_ms) for item in rest])


def park(waiting: Sequence[Read], now_ms: int, random: Callable[[], float]) -> dict[UUID, Decided]:
    """Return, by delivery id, how ``waiting`` goes on."""
    return {
        item.delivery.event.delivery_id: _parked(item.delivery, now_ms, random)
        for item in waiting
        if item.delivery is not None
    }


def _parked(delivery: Delivery, now_ms: int, random: Callable[[], float]) -> Decided:
    delay_ms = round(DELAY_MS_MAX * (1 - random() / 2))
    since_ms = now_ms if delivery.held_since_ms is None else delivery.held_since_ms
    return Decided(Outcome.RETRY, replace(delivery, held_since_ms=since_ms), PAUSED, delay_ms=delay_ms)


def _was_held(item: Read) -> bool:
    return item.delivery is not None and item.delivery.held_since_ms is not None


def _resumed(item: Read, now_ms: int) -> Read:
    """Return ``item`` with the wait that is over taken from its age."""
    delivery = item.delivery
    if delivery is None or delivery.held_since_ms is None:
        return item
    # The age of what was replayed counts from its first failure after that: until then there is none to take it from.
    ages = not delivery.replay or delivery.event.attempt > 1
    waited_ms = max(0, now_ms - delivery.held_since_ms) if ages else 0
    return replace(item, delivery=replace(delivery, held_ms=delivery.held_ms + waited_ms, held_since_ms=None))
