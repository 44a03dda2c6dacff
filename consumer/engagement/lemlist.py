"""Lemlist's e-mail activities belong to the enrollment their campaign and lead name.

Only the `emails*` family: the group events (`hooked`, `warmed`, ...) restate the same activities, and counting both
doubles. Source: Lemlist's webhook documentation, list of activity types.
"""

from __future__ import annotations

from consumer.engagement.actions import ByLemlist, Reading
from tidegate.event import Event
from tidegate.handlers import Reject

ACTIONS = {
    "emailsSent": "sent",
    "emailsOpened": "opened",
    "emailsClicked": "clicked",
    "emailsReplied": "replied",
    "emailsBounced": "bounced",
    "emailsUnsubscribed": "unsubscribed",
    "emailsFailed": "failed",
    "emailsSendFailed": "failed",  # its deprecated name
}


def read(event: Event) -> Reading | None:
    """Return the action, or None for an activity that is none of ours.

    Without a campaign there is no enrollment to wait for: an unsubscription outside any campaign, say.
    """
    action = ACTIONS.get(event.event_type)
    data = event.data if isinstance(event.data, dict) else {}
    campaign, lead = data.get("campaignId"), data.get("leadId")
    if action is None or not campaign:
        return None
    if not isinstance(campaign, str) or not isinstance(lead, str) or not lead:
        raise Reject("campaignId or leadId is missing or not text")
    return Reading(action, ByLemlist(campaign, lead))
