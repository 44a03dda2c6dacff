"""From events of any provider to counted actions: read, find the enrollment, record; or wait for the enrollment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from consumer.engagement import tables
from consumer.engagement.tables import Action, Enrollment
from tidegate.event import Event
from tidegate.handlers import Batch, Reject, Transaction


@dataclass(frozen=True, slots=True)
class ByLemlist:
    """The enrollment that Lemlist's campaign and lead ids name."""

    campaign_ref: str
    lead_ref: str


@dataclass(frozen=True, slots=True)
class ByContact:
    """The newest active enrollment of a HubSpot contact."""

    contact_ref: str


@dataclass(frozen=True, slots=True)
class ById:
    """The enrollment with our own id."""

    enrollment_id: str


Whose = ByLemlist | ByContact | ById


@dataclass(frozen=True, slots=True)
class Reading:
    """What an event says: ``action`` (one of tables.ACTIONS) happened to the enrollment ``whose`` names."""

    action: str
    whose: Whose


Reader = Callable[[Event], Reading | None]
"""Returns None for an event that is no engagement; raises Reject for one that names no enrollment."""


class Recorder:
    """Records the actions of a batch, whichever provider reported them. ``readers`` is by provider."""

    def __init__(self, readers: Mapping[str, Reader]) -> None:
        self._readers = readers

    async def record(self, batch: Batch, tx: Transaction) -> None:
        """Count each action; those whose enrollment is not there yet wait for it."""
        readings: list[tuple[Event, Reading]] = []
        for event in batch:
            try:
                reading = self._readers[event.provider](event)
            except Reject as rejected:
                batch.reject(event, str(rejected))
                continue
            if reading is None:
                batch.ignore(event)
            else:
                readings.append((event, reading))
        find = await _finder(tx, readings)
        actions: list[Action] = []
        for event, reading in readings:
            enrollment = find(event, reading.whose)
            if enrollment is None:
                batch.retry(event, waiting_for=_parent(reading.whose))
            else:
                actions.append(Action(enrollment, reading.action, event.occurred_at))
        if actions:
            await tables.record(tx, actions)


async def _finder(
    tx: Transaction, readings: list[tuple[Event, Reading]]
) -> Callable[[Event, Whose], Enrollment | None]:
    """Look all enrollments up, a query for each way of naming one; return how to find them."""
    ids = {whose.enrollment_id for _, reading in readings if isinstance(whose := reading.whose, ById)}
    leads = {
        (whose.campaign_ref, whose.lead_ref) for _, reading in readings if isinstance(whose := reading.whose, ByLemlist)
    }
    contacts = {
        (whose.contact_ref, event.occurred_at)
        for event, reading in readings
        if isinstance(whose := reading.whose, ByContact)
    }
    by_id = await tables.existing_enrollments(tx, sorted(ids)) if ids else {}
    by_lead = await tables.by_lemlist(tx, sorted(leads)) if leads else {}
    by_contact = await tables.by_hubspot(tx, sorted(contacts)) if contacts else {}

    def find(event: Event, whose: Whose) -> Enrollment | None:
        match whose:
            case ById(enrollment_id):
                return by_id.get(enrollment_id)
            case ByLemlist(campaign_ref, lead_ref):
                return by_lead.get((campaign_ref, lead_ref))
            case ByContact(contact_ref):
                return by_contact.get((contact_ref, event.occurred_at))

    return find


def _parent(whose: Whose) -> str:
    match whose:
        case ById(enrollment_id):
            return tables.enrollment(enrollment_id)
        case ByLemlist(campaign_ref, lead_ref):
            return tables.lemlist_enrollment(campaign_ref, lead_ref)
        case ByContact(contact_ref):
            return tables.hubspot_enrollment(contact_ref)
