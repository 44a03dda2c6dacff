"""HubSpot tells of e-mail engagement in two ways, for it has no e-mail webhook of its own: changes of contact properties
(signed v1 or v3, in arrays), and workflow webhooks with a body the customer made up (signed v2). Settings map both.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from consumer.engagement import tables
from tidegate.event import Event
from tidegate.handlers import Batch, Handlers, Transaction
from tidegate.settings import HubSpotMapping

Reading = tuple[str, str | None, str | None]
"""Action, contact id, our own enrollment id; the latter two None where the event names none."""


def register(handlers: Handlers, mapping: HubSpotMapping) -> None:
    """Register one handler for each way."""
    handlers.batch("hubspot", "*.propertyChange")(_handler(partial(_property, mapping)))
    handlers.batch("hubspot", "workflow*")(_handler(partial(_workflow, mapping)))


def _handler(read: Callable[[Event], Reading | None]) -> Any:
    async def count(batch: Batch, tx: Transaction) -> None:
        wanted: list[tuple[Event, Reading]] = []
        for event in batch:
            reading = read(event)
            if reading is None:
                batch.ignore(event)
            elif reading[1] is None and reading[2] is None:
                batch.reject(event, "names neither a contact nor an enrollment")
            else:
                wanted.append((event, reading))
        await _count(batch, tx, wanted)

    return count


async def _count(batch: Batch, tx: Transaction, wanted: list[tuple[Event, Reading]]) -> None:
    named = sorted({enrollment for _, (_, _, enrollment) in wanted if enrollment})
    contacts: set[tuple[str, datetime]] = {
        (contact, event.occurred_at) for event, (_, contact, enrollment) in wanted if contact and not enrollment
    }
    by_id = await tables.existing_enrollments(tx, named) if named else {}
    by_contact = await tables.by_hubspot(tx, sorted(contacts)) if contacts else {}
    actions: list[tables.Action] = []
    for event, (action, contact, enrollment_id) in wanted:
        if enrollment_id:
            enrollment, parent = by_id.get(enrollment_id), tables.enrollment(enrollment_id)
        else:
            enrollment = by_contact.get((contact or "", event.occurred_at))
            parent = tables.hubspot_enrollment(contact or "")
        if enrollment is None:
            batch.retry(event, waiting_for=parent)
        else:
            actions.append(tables.Action(enrollment, action, event.occurred_at))
    if actions:
        await tables.record(tx, actions)


def _property(mapping: HubSpotMapping, event: Event) -> Reading | None:
    data = event.data if isinstance(event.data, dict) else {}
    action = mapping.properties.get(str(data.get("propertyName")))
    is_contact = event.event_type == "contact.propertyChange" or data.get("objectTypeId") == "0-1"
    if action is None or not is_contact or data.get("propertyValue") in (None, "", "false"):
        return None  # not engagement, not a contact, or a value that was cleared: nothing happened to an e-mail
    return action, _text(data.get("objectId")), None


def _workflow(mapping: HubSpotMapping, event: Event) -> Reading | None:
    action = mapping.workflow.get(event.event_type.partition(".")[2])
    if action is None:
        return None
    contact = _text(_at(event.data, mapping.workflow_contact))
    return action, contact, _text(_at(event.data, mapping.workflow_enrollment))


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return None
    return str(value) if isinstance(value, int | str) and str(value) else None
