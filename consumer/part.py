"""What goes into one transaction: a batch, or a part of one that had to be halved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from consumer import suspicion
from consumer.reading import Read
from consumer.suspicion import Suspicion
from dlq.letters import Death
from tidegate.event import Delivery


@dataclass(frozen=True, slots=True)
class Part:
    """Deliveries to apply, and what becomes a letter beside them."""

    deliveries: Sequence[Delivery]
    batch_seconds: float
    """How long the handlers may take over it all."""
    strangers: Sequence[Death] = ()
    condemned: Mapping[UUID, str] = field(default_factory=dict)
    """Deliveries that took workers down, and how: they die untried."""
    shard_of: Mapping[UUID, int] = field(default_factory=dict)
    slow: bool = False
    """Halved because of statements that timed out: the next one that does is enough."""

    @classmethod
    def of(cls, read: Sequence[Read], *, batch_seconds: float, deliveries_max: int) -> Part:
        """Return the whole of a batch."""
        found = [(item.entry, item.delivery) for item in read if item.delivery is not None]
        return cls(
            [delivery for _, delivery in found],
            batch_seconds,
            strangers=[item.death for item in read if item.death is not None],
            condemned={
                delivery.event.delivery_id: f"delivered {entry.deliveries} times, and each time its worker died; "
                f"the last {suspicion.TRIALS} times nothing else was in work"
                for entry, delivery in found
                if suspicion.of(entry.deliveries, deliveries_max) is Suspicion.CONDEMNED
            },
            shard_of={delivery.event.delivery_id: entry.shard for entry, delivery in found},
        )

    def halves(self, *, event_seconds: float, slow: bool) -> tuple[Part, Part]:
        """Return two parts with half of the deliveries and of the time each."""
        middle = len(self.deliveries) // 2
        half = replace(self, slow=slow, batch_seconds=max(self.batch_seconds / 2, event_seconds))
        return (
            replace(half, deliveries=self.deliveries[:middle]),
            replace(half, deliveries=self.deliveries[middle:], strangers=()),
        )
