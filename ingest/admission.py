"""Whether there is room for more, decided from a look at Redis taken once a second and not once a request. Pure.

The append itself refuses at `backlog_max` to the entry. This is about refusing before a body is read, about what the append
cannot know (memory, age), and about telling providers when to come back: once the backlog has drained, and not all together.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from tidegate.settings import IngestSettings

LIMITS = ("backlog", "memory", "oldest")
RESUME_SHARE = 0.9
"""Of a limit: admission opens again below this, so that it does not flutter at the limit itself."""
STALE_SECONDS = 5.0
"""A look older than this says nothing any more: Redis is away, which is the fuse's business."""
SPREAD = 1.5
"""Those turned away together come back spread from the estimate to this many times of it."""
RATE_WEIGHT = 0.3
"""Of the newest look in the drain rate; the rest is what was known before."""


@dataclass(frozen=True, slots=True)
class Look:
    """Redis at one moment. ``backlog``: entries on both streams of the fullest shard; ``settled``: ever, over all shards."""

    at_seconds: float
    backlog: int
    oldest_seconds: float
    memory_bytes: int
    memory_bytes_max: int
    settled: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """0 is no limit."""

    backlog_max: int
    memory_share_max: float
    memory_bytes_max: int
    oldest_seconds_max: float
    retry_after_seconds: int
    retry_after_seconds_max: int

    @classmethod
    def of(cls, settings: IngestSettings, *, backlog_max: int) -> Bounds:
        """Return the bounds ``settings`` name."""
        return cls(
            backlog_max,
            settings.memory_share_max,
            settings.memory_bytes_max,
            settings.oldest_seconds_max,
            settings.retry_after_seconds,
            settings.retry_after_seconds_max,
        )


class Admission:
    """Told each look by `saw`, and by `full` what an append found; asked by each request."""

    def __init__(self, bounds: Bounds, *, chance: Callable[[], float] = random.random) -> None:
        self.why = ""
        """What is at its limit, for people; empty while there is room."""
        self.drained_per_second = 0.0
        self._bounds = bounds
        self._chance = chance
        self._last: Look | None = None
        self._until = float("-inf")

    def is_closed(self, now_seconds: float) -> bool:
        """Tell whether to turn a request away unread."""
        return bool(self.why) and now_seconds < self._until

    def saw(self, look: Look) -> None:
        """Take in a look."""
        last, self._last = self._last, look
        # Fewer than before: the ledger was lost with everything else.
        if last is not None and look.at_seconds > last.at_seconds and look.settled >= last.settled:
            rate = (look.settled - last.settled) / (look.at_seconds - last.at_seconds)
            self.drained_per_second += RATE_WEIGHT * (rate - self.drained_per_second)
        self.why = self._reason(look, RESUME_SHARE if self.why else 1.0)
        self._until = look.at_seconds + STALE_SECONDS

    def full(self, now_seconds: float, backlog: int | None) -> None:
        """An append found no room: for ``backlog`` entries, or for lack of memory (None). Holds until the next look."""
        if not self.why:
            self.why = "memory" if backlog is None else "backlog"
        # Without looks, since Redis answers nothing else either, the next append is the next look.
        self._until = max(self._until, now_seconds + 1.0) if self._last else now_seconds + 1.0

    def _reason(self, look: Look, share: float) -> str:
        bounds = self._bounds
        memory_max = [limit for limit in (bounds.memory_bytes_max,) if limit]
        if look.memory_bytes_max:
            memory_max.append(int(look.memory_bytes_max * bounds.memory_share_max))
        if bounds.backlog_max and look.backlog >= bounds.backlog_max * share:
            return "backlog"
        if memory_max and look.memory_bytes >= min(memory_max) * share:
            return "memory"
        if bounds.oldest_seconds_max and look.oldest_seconds >= bounds.oldest_seconds_max * share:
            return "oldest"
        return ""

    def retry_after_seconds(self, now_seconds: float) -> int:
        """Return when a provider that is turned away should come back: another number for each, so that not all do at once."""
        least, most = self._bounds.retry_after_seconds, self._bounds.retry_after_seconds_max
        low = min(max(self._drained_in_seconds(now_seconds), least), most)
        high = min(low * SPREAD, most)
        if high <= low:  # at the most: spread below it
            low = max(least, most / SPREAD)
        return math.ceil(low + (high - low) * self._chance())

    def _drained_in_seconds(self, now_seconds: float) -> float:
        """Return in how long there is room again at the rate at which workers have been settling."""
        look, bounds = self._last, self._bounds
        if look is None or not self.is_closed(now_seconds):
            return 0.0
        if self.why == "oldest":  # what is as old as allowed now is gone when all before it is
            too_many = float(look.backlog) * (1 - RESUME_SHARE)
        elif self.why == "memory" or not bounds.backlog_max:
            too_many = look.backlog * (1 - RESUME_SHARE)
        else:
            too_many = look.backlog - bounds.backlog_max * RESUME_SHARE
        if too_many <= 0:
            return 0.0
        return too_many / self.drained_per_second if self.drained_per_second > 0.01 else math.inf
