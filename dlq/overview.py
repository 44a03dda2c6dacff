"""The state of a deployment at a glance: pure arithmetic over what was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dlq.letters import Stat
from tidegate.ledger import Audit
from tidegate.stream import ShardState


@dataclass(frozen=True, slots=True)
class Consumer:
    """A worker as Redis sees it on one shard: what it holds, and how long ago it last asked."""

    shard: int
    name: str
    pending: int
    idle_ms: int


def workers(consumers: Iterable[Consumer]) -> list[Consumer]:
    """Return each worker once, over all shards; ``shard`` is the first of them. Those seen last come first."""
    found: dict[str, Consumer] = {}
    for one in consumers:
        past = found.get(one.name)
        if past is not None:
            one = Consumer(past.shard, one.name, past.pending + one.pending, min(past.idle_ms, one.idle_ms))
        found[one.name] = one
    return sorted(found.values(), key=lambda worker: (worker.idle_ms, worker.name))


@dataclass(frozen=True, slots=True)
class Overview:
    """The verdict, what waits and since when (ms, None: nothing waits), and the open letters."""

    audit: Audit
    backlog: int
    retry: int
    pending: int
    oldest_backlog_ms: int | None
    oldest_retry_ms: int | None
    open: list[Stat]

    @property
    def oldest_inbox_ms(self) -> int | None:
        seconds = self.audit.stored.inbox.oldest_seconds
        return None if seconds is None else max(0, round(seconds * 1000))

    @property
    def open_letters(self) -> int:
        return sum(stat.count for stat in self.open)

    @property
    def open_by_source(self) -> dict[str, int]:
        return _sum((stat.source, stat.count) for stat in self.open)

    @property
    def open_by_reason(self) -> dict[str, int]:
        return _sum((stat.reason, stat.count) for stat in self.open)

    def as_dict(self) -> dict[str, Any]:
        """Return the overview as plain values, for JSON."""
        return {
            "unaccounted": self.audit.unaccounted,
            "backlog": self.backlog,
            "retry": self.retry,
            "pending": self.pending,
            "oldest_backlog_ms": self.oldest_backlog_ms,
            "oldest_retry_ms": self.oldest_retry_ms,
            "inbox": self.audit.stored.inbox.counted_rows,
            "oldest_inbox_ms": self.oldest_inbox_ms,
            "resets": [reset.as_dict() for reset in self.audit.resets],
            "open_letters": self.open_letters,
            "open_by_source": self.open_by_source,
            "open_by_reason": self.open_by_reason,
            "open": [
                asdict(stat) | {"oldest": stat.oldest.isoformat(), "newest": stat.newest.isoformat()}
                for stat in self.open
            ],
        }


def overview(audit: Audit, states: Sequence[ShardState], open_letters: Iterable[Stat]) -> Overview:
    """Return the overview over all shards; the largest group of open letters comes first."""
    return Overview(
        audit=audit,
        backlog=sum(state.events for state in states),
        retry=sum(state.retry for state in states),
        pending=sum(state.pending for state in states),
        oldest_backlog_ms=_oldest(state.oldest_event_age_ms for state in states),
        oldest_retry_ms=_oldest(state.oldest_retry_age_ms for state in states),
        open=sorted(open_letters, key=lambda stat: (-stat.count, stat.source, stat.reason)),
    )


def _oldest(ages_ms: Iterable[int | None]) -> int | None:
    return max((age_ms for age_ms in ages_ms if age_ms is not None), default=None)


def _sum(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for name, count in pairs:
        found[name] += count
    return dict(found.most_common())
