"""What the moves take and return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tidegate.wire import Entry


class BacklogFullError(Exception):
    """The gate must not accept more: ``backlog`` entries wait on both streams of a shard."""

    def __init__(self, backlog: int) -> None:
        super().__init__(f"{backlog} entries wait")
        self.backlog = backlog


@dataclass(frozen=True, slots=True)
class Appendable:
    """One event on its way to the stream, already in wire form."""

    source: str
    provider_event_id: str
    meta: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Settlement:
    """What becomes of one entry. All after ``source`` only counts for the outcome ``retry``.

    A retry may wait for a parent (`Stream.release` makes it due) or, ``held``, for its source (`Stream.resume` does).

    ``provider_event_id`` and ``payload`` are only sent for an entry that `Stream.settle` named as gone: a retry is made of
    what the server still has, so that payloads do not travel twice.
    """

    entry_id: bytes
    outcome: str
    source: str
    meta: bytes = b""
    delay_ms: int = 0
    waiting_for: str | None = None
    provider_event_id: str = ""
    payload: bytes | None = None
    held: bool = False


class Settled(NamedTuple):
    """How many entries this call moved; and the retries it did not, since their content was deleted by another hand.

    The ids in ``gone`` are still pending: settle them again with ``provider_event_id`` and ``payload``.
    """

    count: int  # type: ignore[assignment] # hides tuple.count, which nobody wants of this
    gone: list[bytes]


class Reentered(NamedTuple):
    """How many retries went back; Unix ms of the next one or None; how many had lost their content; are more due now?

    For each of ``lost`` a marker stands on the events stream, see `tidegate.stream.stream`.
    """

    moved: int
    next_due_ms: int | None
    lost: int
    more: bool


class Owned(NamedTuple):
    """What is pending for a consumer; the id to go on after, None at the end; for how many a marker was written."""

    entries: list[Entry]
    cursor: bytes | None
    lost: int


class Claimed(NamedTuple):
    """The entries that are ours now, and for how many a marker was written since their content was gone."""

    entries: list[Entry]
    lost: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """A pending entry nobody renewed: who holds it, for how long, and how often it was delivered."""

    entry_id: bytes
    consumer: str
    idle_ms: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class ShardState:
    """One shard at one instant. ``ledger`` maps ``(count, source)`` to a number; ages are None when empty.

    ``epoch`` names the life of its data, which ends when somebody empties Redis; None: nobody has named it yet. ``now_ms`` is
    the server's clock, Unix milliseconds.
    """

    shard: int
    ledger: dict[tuple[str, str], int]
    events: int
    retry: int
    pending: int
    due: int
    oldest_event_age_ms: int | None
    oldest_retry_age_ms: int | None
    epoch: str | None = None
    epoch_ms: int = 0
    """Since when it is called so."""
    now_ms: int = 0
