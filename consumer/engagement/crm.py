"""What the company's own system announces: campaigns, enrollments, and when one is paused or completed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from consumer.engagement import tables
from tidegate.event import Event
from tidegate.handlers import Batch, Transaction, release

PROVIDER = "standard-webhooks"
STATUS = {"enrollment.paused": "paused", "enrollment.completed": "completed"}


async def campaigns(batch: Batch, tx: Transaction) -> None:
    """Store campaigns and release the enrollments that wait for them."""
    rows: dict[str, tuple[str, str, dict[str, str], datetime]] = {}
    for event in batch:
        data = _data(event)
        campaign_id = _text(data.get("campaign_id"))
        if not campaign_id:
            batch.reject(event, "data.campaign_id is missing")
            continue
        refs = rows[campaign_id][2] | _refs(data) if campaign_id in rows else _refs(data)
        rows[campaign_id] = (campaign_id, _text(data.get("name")), refs, event.occurred_at)
    if rows:
        await tables.upsert_campaigns(tx, [rows[key] for key in sorted(rows)])
        for campaign_id in rows:
            release(tables.campaign(campaign_id))


async def enrollments(batch: Batch, tx: Transaction) -> None:
    """Store enrollments whose campaign is there and release the engagement that waits for them."""
    wanted: list[tuple[Event, str, str]] = []
    for event in batch:
        data = _data(event)
        enrollment_id, campaign_id = _text(data.get("enrollment_id")), _text(data.get("campaign_id"))
        if not enrollment_id or not campaign_id:
            batch.reject(event, "data.enrollment_id or data.campaign_id is missing")
        else:
            wanted.append((event, enrollment_id, campaign_id))
    there = await tables.existing_campaigns(tx, [campaign_id for _, _, campaign_id in wanted])
    rows: dict[str, tuple[str, str, str, dict[str, str], datetime]] = {}
    for event, enrollment_id, campaign_id in wanted:
        if campaign_id not in there:
            batch.retry(event, waiting_for=tables.campaign(campaign_id))
            continue
        data = _data(event)
        refs = rows[enrollment_id][3] | _refs(data) if enrollment_id in rows else _refs(data)
        rows[enrollment_id] = (
            enrollment_id,
            campaign_id,
            _text(data.get("email")),
            refs,
            event.occurred_at,
        )
    if rows:
        await tables.upsert_enrollments(tx, [rows[key] for key in sorted(rows)])
        for name in await tables.released_by(tx, list(rows)):
            release(name)


async def statuses(batch: Batch, tx: Transaction) -> None:
    """Set the status of enrollments; the newest event decides, not the last to arrive."""
    wanted: list[tuple[Event, str]] = []
    for event in batch:
        enrollment_id = _text(_data(event).get("enrollment_id"))
        if not enrollment_id:
            batch.reject(event, "data.enrollment_id is missing")
        else:
            wanted.append((event, enrollment_id))
    there = await tables.existing_enrollments(tx, [enrollment_id for _, enrollment_id in wanted])
    rows: dict[str, tuple[str, str, datetime]] = {}
    for event, enrollment_id in wanted:  # oldest first: the newest of several for one enrollment stays
        if enrollment_id in there:
            rows[enrollment_id] = (enrollment_id, STATUS[event.event_type], event.occurred_at)
        else:
            batch.retry(event, waiting_for=tables.enrollment(enrollment_id))
    if rows:
        await tables.set_status(tx, [rows[key] for key in sorted(rows)])


def _data(event: Event) -> dict[str, Any]:
    data = event.data.get("data") if isinstance(event.data, dict) else None
    return data if isinstance(data, dict) else {}


def _text(value: object) -> str:
    """Return an id or a name as text; numbers are ids too, anything else is none."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _refs(data: dict[str, Any]) -> dict[str, str]:
    """Return the providers' names as text: HubSpot's contact ids are numbers, and numbers are compared as text."""
    refs = data.get("refs")
    found = {str(key): _text(value) for key, value in refs.items()} if isinstance(refs, dict) else {}
    return {key: value for key, value in found.items() if value}
