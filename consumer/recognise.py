"""What an event that was there before means for a delivery of it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from consumer import events as events_table
from consumer.outcome import Outcome
from dlq import letters
from tidegate.event import Delivery
from tidegate.postgres import Connection


async def recognise(connection: Connection, known: Sequence[Delivery]) -> dict[UUID, Outcome]:
    """Return, by delivery id, how deliveries of events that are stored already have ended.

    Our own redelivery (the row bears our delivery id, or we died before) ends as it did then; another's is a duplicate.
    """
    rows = await events_table.existing(connection, [item.event for item in known])
    # Of a delivery that died, was replayed and applied, the settle of the death may still be due.
    dead = await letters.died(connection, known)
    outcomes: dict[UUID, Outcome] = {}
    for item in known:
        event = item.event
        row = rows.get((event.source, event.provider_event_id))
        if event.delivery_id in dead:
            outcomes[event.delivery_id] = Outcome.DEAD
        elif row is not None and row.delivery_id == event.delivery_id:
            outcomes[event.delivery_id] = Outcome(row.outcome)
        else:
            outcomes[event.delivery_id] = Outcome.DUPLICATE
    return outcomes
