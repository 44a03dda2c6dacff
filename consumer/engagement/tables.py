"""The only SQL of campaigns, enrollments and campaign_metrics. Every write takes its rows in the order of their keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from tidegate.handlers import Transaction

ACTIONS = ("sent", "opened", "clicked", "replied", "bounced", "unsubscribed", "failed")


@dataclass(frozen=True, slots=True)
class Enrollment:
    """This contact in this campaign."""

    enrollment_id: str
    campaign_id: str


@dataclass(frozen=True, slots=True)
class Action:
    """Something that happened to an enrollment; ``action`` is one of ACTIONS."""

    enrollment: Enrollment
    action: str
    occurred_at: datetime


async def upsert_campaigns(tx: Transaction, rows: Sequence[tuple[str, str, dict[str, str], datetime]]) -> None:
    """Store (campaign_id, name, refs, occurred_at) rows, unique by id. The newest one names it; refs of all are kept."""
    await tx.execute(
        """
        INSERT INTO campaigns (campaign_id, name, refs, created_at)
        SELECT * FROM unnest(%s::text[], %s::text[], %s::jsonb[], %s::timestamptz[])
        ON CONFLICT (campaign_id) DO UPDATE
        SET name = CASE WHEN excluded.created_at > campaigns.created_at THEN excluded.name ELSE campaigns.name END,
            refs = CASE WHEN excluded.created_at > campaigns.created_at
                THEN campaigns.refs || excluded.refs ELSE excluded.refs || campaigns.refs END,
            created_at = greatest(campaigns.created_at, excluded.created_at)
        """,
        [
            [row[0] for row in rows],
            [row[1] for row in rows],
            [Jsonb(row[2]) for row in rows],
            [row[3] for row in rows],
        ],
    )


async def upsert_enrollments(tx: Transaction, rows: Sequence[tuple[str, str, str, dict[str, str], datetime]]) -> None:
    """Store (enrollment_id, campaign_id, email, refs, occurred_at) rows, unique by id, as active. Announced again: likewise."""
    await tx.execute(
        """
        INSERT INTO enrollments (enrollment_id, campaign_id, email, refs, enrolled_at, status, status_at)
        SELECT u.*, 'active', u.at
        FROM unnest(%s::text[], %s::text[], %s::text[], %s::jsonb[], %s::timestamptz[]) AS u (id, campaign, email, refs, at)
        ON CONFLICT (enrollment_id) DO UPDATE
        SET (campaign_id, email) = (SELECT newer.campaign_id, newer.email FROM (
                VALUES (excluded.campaign_id, excluded.email, excluded.enrolled_at),
                       (enrollments.campaign_id, enrollments.email, enrollments.enrolled_at)
            ) AS newer (campaign_id, email, at) ORDER BY newer.at DESC LIMIT 1),
            refs = CASE WHEN excluded.enrolled_at > enrollments.enrolled_at
                THEN enrollments.refs || excluded.refs ELSE excluded.refs || enrollments.refs END,
            enrolled_at = greatest(enrollments.enrolled_at, excluded.enrolled_at)
        """,
        [
            [row[0] for row in rows],
            [row[1] for row in rows],
            [row[2] for row in rows],
            [Jsonb(row[3]) for row in rows],
            [row[4] for row in rows],
        ],
    )


async def set_status(tx: Transaction, rows: Sequence[tuple[str, str, datetime]]) -> None:
    """Store (enrollment_id, status, occurred_at), unique by id; the newest status wins whatever the order they come in."""
    await tx.execute(
        """
        WITH u AS (SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[]) AS u (id, status, at)),
        held AS MATERIALIZED (
            SELECT e.enrollment_id FROM enrollments AS e JOIN u ON u.id = e.enrollment_id
            ORDER BY e.enrollment_id FOR NO KEY UPDATE OF e
        )
        UPDATE enrollments AS e SET status = u.status, status_at = u.at
        FROM u JOIN held ON held.enrollment_id = u.id
        WHERE e.enrollment_id = u.id AND u.at >= e.status_at
        """,
        [[row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]],
    )


async def existing_campaigns(tx: Transaction, ids: Sequence[str]) -> set[str]:
    """Return those of ``ids`` that are stored."""
    cursor = await tx.execute("SELECT campaign_id FROM campaigns WHERE campaign_id = ANY(%s)", [list(ids)])
    return {row[0] for row in await cursor.fetchall()}


async def existing_enrollments(tx: Transaction, ids: Sequence[str]) -> dict[str, Enrollment]:
    """Return those of ``ids`` that are stored, by id."""
    cursor = await tx.execute(
        "SELECT enrollment_id, campaign_id FROM enrollments WHERE enrollment_id = ANY(%s)", [list(ids)]
    )
    return {row[0]: Enrollment(*row) for row in await cursor.fetchall()}


async def by_lemlist(tx: Transaction, refs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Enrollment]:
    """Return the enrollments of Lemlist (campaignId, leadId) pairs."""
    cursor = await tx.execute(
        """
        SELECT u.campaign, u.lead, e.enrollment_id, e.campaign_id
        FROM unnest(%s::text[], %s::text[]) AS u (campaign, lead)
        JOIN enrollments AS e ON e.refs ->> 'lemlist' = u.lead
        JOIN campaigns AS c ON c.campaign_id = e.campaign_id AND c.refs ->> 'lemlist' = u.campaign
        ORDER BY e.enrolled_at, e.enrollment_id
        """,
        [[campaign for campaign, _ in refs], [lead for _, lead in refs]],
    )
    return {(row[0], row[1]): Enrollment(row[2], row[3]) for row in await cursor.fetchall()}


async def by_hubspot(
    tx: Transaction, contacts: Sequence[tuple[str, datetime]]
) -> dict[tuple[str, datetime], Enrollment]:
    """Return the enrollment of each (contact id, occurred_at): the newest active one of that contact.

    One that had begun when it happened goes before one that began later. Where none is active any more the newest of all is
    taken: people open mails of campaigns that are over.
    """
    cursor = await tx.execute(
        """
        SELECT DISTINCT ON (u.contact, u.at) u.contact, u.at, e.enrollment_id, e.campaign_id
        FROM unnest(%s::text[], %s::timestamptz[]) AS u (contact, at)
        JOIN enrollments AS e ON e.refs ->> 'hubspot' = u.contact
        ORDER BY u.contact, u.at, (e.status = 'active') DESC, (e.enrolled_at <= u.at) DESC,
            e.enrolled_at DESC, e.enrollment_id DESC
        """,
        [[contact for contact, _ in contacts], [at for _, at in contacts]],
    )
    return {(row[0], row[1]): Enrollment(row[2], row[3]) for row in await cursor.fetchall()}


async def record(tx: Transaction, actions: Sequence[Action]) -> None:
    """Count each action for its campaign, and note the newest one of each enrollment."""
    newest: dict[str, Action] = {}
    for action in sorted(actions, key=lambda action: action.occurred_at):
        newest[action.enrollment.enrollment_id] = action
    await tx.execute(
        """
        WITH u AS (SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[]) AS u (id, action, at)),
        held AS MATERIALIZED (
            SELECT e.enrollment_id FROM enrollments AS e JOIN u ON u.id = e.enrollment_id
            ORDER BY e.enrollment_id FOR NO KEY UPDATE OF e
        )
        UPDATE enrollments AS e SET last_action = u.action, last_action_at = u.at
        FROM u JOIN held ON held.enrollment_id = u.id
        WHERE e.enrollment_id = u.id AND (e.last_action_at IS NULL OR u.at >= e.last_action_at)
        """,
        [
            list(newest),
            [action.action for action in newest.values()],
            [action.occurred_at for action in newest.values()],
        ],
    )
    counts = sorted(Counter((action.enrollment.campaign_id, action.action) for action in actions).items())
    await tx.execute(
        """
        INSERT INTO campaign_metrics (campaign_id, event_type, count)
        SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[])
        ON CONFLICT (campaign_id, event_type) DO UPDATE SET count = campaign_metrics.count + excluded.count
        """,
        [[key[0] for key, _ in counts], [key[1] for key, _ in counts], [count for _, count in counts]],
    )


def campaign(campaign_id: str) -> str:
    """Name the parent row that an enrollment of this campaign needs."""
    return f"campaign:{campaign_id}"


def enrollment(enrollment_id: str) -> str:
    """Name the enrollment with our own id."""
    return f"enrollment:id:{enrollment_id}"


def lemlist_enrollment(campaign_ref: str, lead_ref: str) -> str:
    """Name the enrollment that Lemlist calls so."""
    return f"enrollment:lemlist:{campaign_ref}:{lead_ref}"


def hubspot_enrollment(contact_ref: str) -> str:
    """Name any enrollment of this HubSpot contact."""
    return f"enrollment:hubspot:{contact_ref}"


async def released_by(tx: Transaction, enrollment_ids: Sequence[str]) -> set[str]:
    """Return every name that something may wait under for these stored enrollments."""
    cursor = await tx.execute(
        """
        SELECT e.enrollment_id, c.refs ->> 'lemlist', e.refs ->> 'lemlist', e.refs ->> 'hubspot'
        FROM enrollments AS e JOIN campaigns AS c USING (campaign_id) WHERE e.enrollment_id = ANY(%s)
        """,
        [list(enrollment_ids)],
    )
    names: set[str] = set()
    for enrollment_id, campaign_ref, lead_ref, contact_ref in await cursor.fetchall():
        names.add(enrollment(enrollment_id))
        if campaign_ref and lead_ref:
            names.add(lemlist_enrollment(campaign_ref, lead_ref))
        if contact_ref:
            names.add(hubspot_enrollment(contact_ref))
    return names


async def lookup(names: Sequence[str], tx: Transaction) -> set[str]:
    """Return those parents that exist: what a worker asks once more after it parked orphans."""
    campaigns: list[str] = []
    enrollments: list[str] = []
    leads: list[tuple[str, str]] = []
    contacts: list[str] = []
    for name in names:
        kind, _, rest = name.partition(":")
        if kind == "campaign":
            campaigns.append(rest)
            continue
        how, _, ref = rest.partition(":")
        if how == "id":
            enrollments.append(ref)
        elif how == "lemlist":
            campaign_ref, _, lead_ref = ref.partition(":")
            leads.append((campaign_ref, lead_ref))
        elif how == "hubspot":
            contacts.append(ref)
    found: set[str] = set()
    if campaigns:
        found |= {campaign(item) for item in await existing_campaigns(tx, campaigns)}
    if enrollments:
        found |= {enrollment(item) for item in await existing_enrollments(tx, enrollments)}
    if leads:
        found |= {lemlist_enrollment(*pair) for pair in await by_lemlist(tx, leads)}
    if contacts:
        cursor = await tx.execute(
            "SELECT DISTINCT refs ->> 'hubspot' FROM enrollments WHERE refs ->> 'hubspot' = ANY(%s)",
            [contacts],
        )
        found |= {hubspot_enrollment(row[0]) for row in await cursor.fetchall()}
    return found
