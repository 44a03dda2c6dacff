"""Lemlist's e-mail activities count for the enrollment their campaign and lead name.

Only the `emails*` family: the group events (`hooked`, `warmed`, ...) restate the same activities, and counting both
doubles. Source: Lemlist's webhook documentation, list of activity types.
"""

from __future__ import annotations

from consumer.engagement import tables
from tidegate.event import Event
from tidegate.handlers import Batch, Handlers, Transaction

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


def register(handlers: Handlers) -> None:
    """Register the handler."""
    handlers.batch("lemlist", "emails*")(emails)


async def emails(batch: Batch, tx: Transaction) -> None:
    """Count e-mail activities; those whose enrollment is not there yet wait for it."""
    wanted: list[tuple[Event, str, tuple[str, str]]] = []
    for event in batch:
        action = ACTIONS.get(event.event_type)
        data = event.data if isinstance(event.data, dict) else {}
        campaign, lead = data.get("campaignId"), data.get("leadId")
        if action is None or not campaign:
            # Without a campaign there is no enrollment to wait for: an unsubscription outside any campaign, say.
            batch.ignore(event)
        elif not isinstance(campaign, str) or not isinstance(lead, str) or not lead:
            batch.reject(event, "campaignId or leadId is missing or not text")
        else:
            wanted.append((event, action, (campaign, lead)))
    found = await tables.by_lemlist(tx, sorted({pair for _, _, pair in wanted})) if wanted else {}
    actions: list[tables.Action] = []
    for event, action, pair in wanted:
        enrollment = found.get(pair)
        if enrollment is None:
            batch.retry(event, waiting_for=tables.lemlist_enrollment(*pair))
        else:
            actions.append(tables.Action(enrollment, action, event.occurred_at))
    if actions:
        await tables.record(tx, actions)
