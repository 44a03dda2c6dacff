"""What goes into one transaction: a batch, or a part of one that had to be halved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from consumer import suspicion
from consumer.reading import Read
from consumer.suspicion import Suspicion
from dlq.letters import Death
from tidegate.event import Delivery


@dataclass(frozen=True, slots=True)
class Part:
    """Entries as read, and how to go about them."""

    read: Sequence[Read]
    batch_seconds: float
    """How long the handlers may take over it all."""
    deliveries_max: int
    slow: bool = False
    """Halved because of statements that timed out: the next one that does is enough."""
    verdict: Exception | None = None
    """How its only delivery has failed in a transaction that could not be kept: it is not tried again."""

    @property
    def deliveries(self) -> list[Delivery]:
        """What is to be applied."""
        return [item.delivery for item in self.read if item.delivery is not None]

    @property
    def strangers(self) -> list[Death]:
        """What is a letter straight away."""
        return [item.death for item in self.read if item.death is not None]

    @property
    def lone(self) -> bool:
        """Whether there is nothing to halve."""
        return len(self.read) < 2

    def condemned(self, item: Read) -> str | None:
        """Return why ``item`` dies untried; None when it does not."""
        if suspicion.of(item.entry.deliveries, self.deliveries_max) is not Suspicion.CONDEMNED:
            return None
        return (
            f"worker after worker died with it in hand, the last {suspicion.TRIALS_MAX} times with nothing else in work"
        )

    def halves(self, *, event_seconds: float, slow: bool) -> tuple[Part, Part]:
        """Return two parts with half of the entries and of the time each."""
        middle = len(self.read) // 2
        half = replace(self, slow=slow, batch_seconds=max(self.batch_seconds / 2, event_seconds))
        return replace(half, read=self.read[:middle]), replace(half, read=self.read[middle:])
