"""Writing letters, and only for what nobody else is applying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from consumer import events as events_table
from consumer.outcome import Decided, Outcome
from consumer.reading import Read
from consumer.recognise import recognise
from dlq import letters
from tidegate.event import Delivery
from tidegate.postgres import Connection, Kind, classify


async def bury(
    connection: Connection,
    decided: dict[UUID, Decided],
    reads: Mapping[UUID, Read],
    strangers: Sequence[letters.Death],
) -> None:
    """Write the letters of the dead among ``decided``, which were read as ``reads``, and of ``strangers``.

    A delivery whose event another transaction settled first gets that outcome instead, in ``decided``.
    """
    dying = [item for item in decided.values() if item.outcome is Outcome.DEAD and not item.already]
    readable = sorted(
        (item.delivery for item in dying if item.delivery.malformed is None),
        key=lambda item: (item.event.source, item.event.provider_event_id),
    )
    if readable:
        decided.update(await _hold(connection, readable))
    ids = [item.delivery.event.delivery_id for item in dying]
    deaths = [
        letters.Death(item.delivery, item.reason, item.error, reads[event_id].entry.shard)
        for event_id, item in zip(ids, dying, strict=True)
        if decided[event_id].outcome is Outcome.DEAD
    ]
    if deaths or strangers:
        await letters.bury(connection, [*deaths, *strangers])


async def _hold(connection: Connection, dying: Sequence[Delivery]) -> dict[UUID, Decided]:
    """Take the rows of events about to die; return those another transaction settled first."""
    try:
        async with connection.transaction():
            outcomes = [Outcome.IGNORED] * len(dying)
            held = await events_table.insert(connection, dying, outcomes, without_payload=True)
    except Exception as error:
        if classify(error) is not Kind.PERMANENT:
            raise
        if len(dying) == 1:
            return {}  # no transaction can insert this row, so none can have applied the event
        middle = len(dying) // 2
        return await _hold(connection, dying[:middle]) | await _hold(connection, dying[middle:])
    lost = [item for item in dying if item.event.delivery_id not in held]
    mine = [item.event for item in dying if item.event.delivery_id in held]
    if mine:
        await events_table.remove(connection, mine)
    dead = await letters.died(connection, dying)
    overtaken = {
        item.event.delivery_id: Decided(Outcome.DEAD, item, already=True)
        for item in dying
        if item.event.delivery_id in dead
    }
    if lost:
        found = await recognise(connection, lost)
        overtaken |= {item.event.delivery_id: Decided(found[item.event.delivery_id], item) for item in lost}
    return overtaken
