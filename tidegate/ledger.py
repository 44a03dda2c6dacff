"""The ledger: every delivery that was accepted, in exactly one place. Pure arithmetic over what was read.

    accepted + replayed + foreign = applied + duplicate + ignored + dead + on the events stream + on the retry stream

holds at every instant on each shard, because each move changes both sides in one script. And what the ledger says was
applied must be there in Postgres: the rows of `events`, and as many deaths as `dead_letters` has seen. Between a worker's
commit and its settle Postgres is ahead, by at most what is under way: hence a range, and equality when all is quiet. Where
Redis lost its data its ledger began anew: then Postgres must hold at least what was counted, and may hold more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tidegate.inbox import InboxState
from tidegate.resets import Epoch, Reset, past, resets
from tidegate.stream import ShardState

IN = ("accepted", "replayed", "foreign")
OUT = ("applied", "duplicate", "ignored", "dead")


@dataclass(frozen=True, slots=True)
class Balance:
    """Both sides of one shard, or of all; ``unaccounted`` above 0 is lost, below 0 doubled."""

    accepted: int
    replayed: int
    foreign: int
    applied: int
    duplicate: int
    ignored: int
    dead: int
    waiting: int
    """Entries on the events stream, pending ones included."""
    retrying: int
    pending: int

    @property
    def came(self) -> int:
        return self.accepted + self.replayed + self.foreign

    @property
    def found(self) -> int:
        return self.applied + self.duplicate + self.ignored + self.dead + self.waiting + self.retrying

    @property
    def unaccounted(self) -> int:
        return self.came - self.found


@dataclass(frozen=True, slots=True)
class Stored:
    """What Postgres holds: rows of `events`, deaths (a letter replayed n times and open has died n + 1 times), letters.

    And the inbox, and what it remembers of Redis.
    """

    events: int
    deaths: int
    letters: dict[str, int]
    inbox: InboxState = field(default_factory=InboxState)
    epochs: tuple[Epoch, ...] = ()


@dataclass(frozen=True, slots=True)
class Audit:
    """The verdict over all shards and Postgres."""

    balance: Balance
    by_source: dict[str, dict[str, int]]
    stored: Stored
    missing_events: int
    missing_letters: int
    resets: tuple[Reset, ...] = ()
    """When Redis lost its data, the oldest first."""

    @property
    def missing_inbox(self) -> int:
        """Rows of the inbox that neither are there nor were moved; below 0 when nobody stored them."""
        return self.stored.inbox.missing

    @property
    def unaccounted(self) -> int:
        """How many deliveries are not where the ledger says; 0 or the law is broken."""
        missing = (self.balance.unaccounted, self.missing_events, self.missing_letters, self.missing_inbox)
        return sum(map(abs, missing))

    def as_dict(self) -> dict[str, Any]:
        """Return the audit as plain values, for JSON."""
        return {
            **asdict(self.balance),
            "came": self.balance.came,
            "found": self.balance.found,
            "postgres": {
                "events": self.stored.events,
                "deaths": self.stored.deaths,
                "letters": self.stored.letters,
            },
            "inbox": asdict(self.stored.inbox),
            "missing_events": self.missing_events,
            "missing_letters": self.missing_letters,
            "missing_inbox": self.missing_inbox,
            "resets": [reset.as_dict() for reset in self.resets],
            "unaccounted": self.unaccounted,
            "by_source": self.by_source,
        }


def shard_balance(state: ShardState) -> Balance:
    """Return both sides of one shard."""
    return total([state])


def total(states: Sequence[ShardState]) -> Balance:
    """Return both sides summed over shards."""
    counts = dict.fromkeys((*IN, *OUT), 0)
    for state in states:
        for (name, _), value in state.ledger.items():
            if name in counts:
                counts[name] += value
    return Balance(
        **counts,
        waiting=sum(state.events for state in states),
        retrying=sum(state.retry for state in states),
        pending=sum(state.pending for state in states),
    )


def by_source(states: Sequence[ShardState]) -> dict[str, dict[str, int]]:
    """Return the counts of each source, summed over shards."""
    found: dict[str, dict[str, int]] = {}
    for state in states:
        for (name, source), value in state.ledger.items():
            row = found.setdefault(source, dict.fromkeys((*IN, *OUT), 0))
            if name in row:
                row[name] += value
    return dict(sorted(found.items()))


def judge(before: Sequence[ShardState], stored: Stored, after: Sequence[ShardState]) -> Audit:
    """Return the verdict from the shards read before and after Postgres was.

    Postgres may hold no less than the ledger said before, and no more than it said after plus what is under way: a worker's
    commit comes before its settle, and that may have been overtaken by another worker's, which sent the entry to be retried.
    Where Redis lost its data there is no upper end: what was under way then was applied, and no ledger knows how much.
    """
    low, high = total(before), total(after)
    under_way = high.waiting + high.retrying
    lost = resets(stored.epochs, {state.shard: state.epoch for state in after})
    earlier = past(stored.epochs, before, after)
    return Audit(
        balance=high,
        by_source=by_source(after),
        stored=stored,
        missing_events=_outside(
            stored.events,
            low.applied + low.ignored + earlier["applied"] + earlier["ignored"],
            None if lost else high.applied + high.ignored + under_way,
        ),
        missing_letters=_outside(stored.deaths, low.dead + earlier["dead"], None if lost else high.dead + under_way),
        resets=tuple(lost),
    )


def _outside(value: int, low: int, high: int | None) -> int:
    """Return how far ``value`` is below (positive: missing) or above (negative: too many) the range; None: no upper end."""
    if value < low:
        return low - value
    return 0 if high is None else min(0, high - value)
