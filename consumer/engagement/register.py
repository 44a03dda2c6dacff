"""Which function gets which events."""

from __future__ import annotations

from consumer.engagement import crm, hubspot, lemlist
from consumer.engagement.actions import Recorder
from consumer.engagement.tables import lookup
from tidegate.handlers import Handlers
from tidegate.settings import EngagementSettings


def handlers(settings: EngagementSettings) -> Handlers:
    """Return the handlers, parents before children: within one batch a campaign is there before its enrollments.

    What Lemlist and HubSpot report is one handler: it takes the locks of a batch once, in one order. Two handlers would take
    the second's while holding the first's, and two workers would deadlock.
    """
    found = Handlers()
    found.batch(crm.PROVIDER, "campaign.created")(crm.campaigns)
    found.batch(crm.PROVIDER, "enrollment.created")(crm.enrollments)
    for event_type in crm.STATUS:
        found.batch(crm.PROVIDER, event_type)(crm.statuses)
    record = Recorder({"lemlist": lemlist.read, "hubspot": hubspot.Reader(settings.hubspot)}).record
    found.batch("lemlist", "emails*")(record)
    found.batch("hubspot", "*.propertyChange")(record)
    found.batch("hubspot", "workflow*")(record)
    for kind in ("campaign", "enrollment"):
        found.parent(kind)(lookup)
    return found
