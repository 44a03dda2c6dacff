"""HubSpot tells of e-mail engagement in two ways, having no e-mail webhook of its own: changes of contact properties (signed
v1 or v3, in arrays), and workflow webhooks with a body the customer made up (signed v2). Settings map both.
"""

from __future__ import annotations

from typing import Any

from consumer.engagement.actions import ByContact, ById, Reading
from tidegate.event import Event
from tidegate.handlers import Reject
from tidegate.settings import HubSpotMapping


class Reader:
    """Reads both ways as ``mapping`` says."""

    def __init__(self, mapping: HubSpotMapping) -> None:
        self._mapping = mapping

    def __call__(self, event: Event) -> Reading | None:
        """Return the action; None for a change or workflow that is not mapped."""
        if event.event_type.startswith("workflow"):
            return self._workflow(event)
        return self._property(event)

    def _property(self, event: Event) -> Reading | None:
        data = event.data if isinstance(event.data, dict) else {}
        action = self._mapping.properties.get(str(data.get("propertyName")))
        is_contact = event.event_type == "contact.propertyChange" or data.get("objectTypeId") == "0-1"
        if action is None or not is_contact or data.get("propertyValue") in (None, "", "false"):
            return None  # not engagement, not a contact, or a value that was cleared: nothing happened to an e-mail
        contact = _text(data.get("objectId"))
        if contact is None:
            raise Reject("objectId is missing")
        return Reading(action, ByContact(contact))

    def _workflow(self, event: Event) -> Reading | None:
        action = self._mapping.workflow.get(event.event_type.partition(".")[2])
        if action is None:
            return None
        enrollment = _text(_at(event.data, self._mapping.workflow_enrollment))
        if enrollment is not None:
            return Reading(action, ById(enrollment))
        contact = _text(_at(event.data, self._mapping.workflow_contact))
        if contact is None:
            raise Reject(
                f"neither {self._mapping.workflow_contact} nor {self._mapping.workflow_enrollment} is in the body"
            )
        return Reading(action, ByContact(contact))


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return None
    return str(value) if isinstance(value, int | str) and str(value) else None
