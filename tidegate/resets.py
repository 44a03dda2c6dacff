"""When Redis lost its data: pure reasoning over which epochs were seen.

An epoch is one life of a shard's data. The shard bears its name, so that whoever empties Redis takes that away too; Postgres
remembers each name, and how the shard was when it was last seen. A Redis that is restored from an older file of the same
life bears the same name: that is not noticed here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from tidegate.stream import ShardState


@dataclass(frozen=True, slots=True)
class Epoch:
    """One life of a shard's data. ``last_seen`` holds `counts` as they were at ``last_at``."""

    shard: int
    epoch: str
    began_at: datetime
    first_seen_at: datetime
    last_at: datetime
    last_seen: dict[str, int]


@dataclass(frozen=True, slots=True)
class Reset:
    """The data on ``shards`` was gone at ``at`` (None: no worker has noticed yet), and was last seen at ``last_at``.

    ``accepted`` counts the deliveries until then; ``waiting`` those that were on a stream, of which ``retrying`` for a retry.
    """

    at: datetime | None
    last_at: datetime
    shards: tuple[int, ...]
    accepted: int
    waiting: int
    retrying: int

    @property
    def sentence(self) -> str:
        """What a person should know."""
        when = f"on {_clock(self.at)}" if self.at else f"since {_clock(self.last_at)}, and no worker has noticed yet"
        waiting = f"{self.waiting:,} deliveries were" if self.waiting != 1 else "1 delivery was"
        return (
            f"Redis was emptied {when}; the ledger counts since then. At the last look before, {_clock(self.last_at)}, "
            f"{waiting} waiting: those, and what came after, are lost unless they had been applied by then. "
            "Letters on their way back stay `replaying`: `tidegate dlq replay --status replaying` sends them again."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return {
            "at": None if self.at is None else self.at.isoformat(),
            "last_seen_at": self.last_at.isoformat(),
            "shards": list(self.shards),
            "accepted": self.accepted,
            "waiting": self.waiting,
            "retrying": self.retrying,
        }


@dataclass(slots=True)
class _Gap:
    """Between two epochs, of all shards where the later one was found at the same moment."""

    before: list[Epoch] = field(default_factory=list)
    after: list[Epoch] = field(default_factory=list)


def counts(state: ShardState) -> dict[str, int]:
    """Return what is remembered of a look: the ledger over all sources, and the lengths of both streams."""
    summed: Counter[str] = Counter({"events": state.events, "retry": state.retry})
    for (name, _), value in state.ledger.items():
        summed[name] += value
    return dict(summed)


def resets(known: Iterable[Epoch], present: Mapping[int, str | None]) -> list[Reset]:
    """Return every loss, the oldest first. ``present`` maps each shard to its epoch now, None when it has no name yet."""
    gaps: dict[datetime | None, _Gap] = {}
    by_shard: dict[int, list[Epoch]] = {}
    for epoch in sorted(known, key=lambda epoch: (epoch.began_at, epoch.first_seen_at)):
        by_shard.setdefault(epoch.shard, []).append(epoch)
    for shard, now in present.items():
        lives: Sequence[Epoch] = by_shard.get(shard, ())
        for before, after in pairwise(lives):
            gap = gaps.setdefault(after.first_seen_at, _Gap())
            gap.before.append(before)
            gap.after.append(after)
        # A deployment older than epochs has none yet, and has lost nothing.
        if lives and now not in {epoch.epoch for epoch in lives}:
            gaps.setdefault(None, _Gap()).before.append(lives[-1])
    return sorted((_reset(gap) for gap in gaps.values()), key=lambda reset: reset.last_at)


def past(known: Iterable[Epoch], *looks: Iterable[ShardState]) -> Counter[str]:
    """Return what was counted on the shards of ``looks`` in epochs other than theirs, when those were last seen."""
    shards = {state.shard for look in looks for state in look}
    present = {(state.shard, state.epoch) for look in looks for state in look}
    summed: Counter[str] = Counter()
    for epoch in known:
        if epoch.shard in shards and (epoch.shard, epoch.epoch) not in present:
            summed.update(epoch.last_seen)
    return summed


def _reset(gap: _Gap) -> Reset:
    waiting = {queue: sum(epoch.last_seen.get(queue, 0) for epoch in gap.before) for queue in ("events", "retry")}
    return Reset(
        at=min((epoch.began_at for epoch in gap.after), default=None),
        last_at=max(epoch.last_at for epoch in gap.before),
        shards=tuple(sorted(epoch.shard for epoch in gap.before)),
        accepted=sum(epoch.last_seen.get("accepted", 0) for epoch in gap.before),
        waiting=sum(waiting.values()),
        retrying=waiting["retry"],
    )


def _clock(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
