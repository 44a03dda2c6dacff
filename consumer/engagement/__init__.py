"""The built-in read model: which campaign got how many opens, clicks and answers.

The company's own system announces campaigns and enrollments; Lemlist and HubSpot report what happened to them. It is the
first user of the public handler API, and uses nothing else.
"""

from __future__ import annotations

from consumer.engagement import crm, hubspot, lemlist
from consumer.engagement.tables import lookup
from tidegate.handlers import Handlers
from tidegate.settings import EngagementSettings


def handlers(settings: EngagementSettings) -> Handlers:
    """Return the handlers, parents before children: within one batch a campaign is there before its enrollments."""
    found = Handlers()
    crm.register(found)
    lemlist.register(found)
    hubspot.register(found, settings.hubspot)
    for kind in ("campaign", "enrollment"):
        found.parent(kind)(lookup)
    return found
