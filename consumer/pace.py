"""How large the next batch may be, so that its transaction takes about as long as it should. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """Halved by a batch that took longer than ``target_seconds``, doubled by a full one that took less than half of it.

    Slow handlers so get small batches: their locks are short, and a batch that must be repeated costs little.
    """

    count_max: int
    target_seconds: float
    count: int = 0

    def __post_init__(self) -> None:
        self.count = self.count_max

    def took(self, count: int, seconds: float) -> None:
        """Learn from a batch of ``count`` deliveries."""
        if seconds > self.target_seconds:
            self.count = max(1, self.count // 2)
        elif count >= self.count and seconds < self.target_seconds / 2:
            self.count = min(self.count_max, self.count * 2)
