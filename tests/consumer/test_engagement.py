"""Campaign metrics: each event counted once for the right campaign, whatever order the world sends it in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from consumer import engagement
from consumer.outcome import Outcome, Schedule
from tests.fixtures import Rig, event
from tidegate import Event
from tidegate.settings import EngagementSettings

_numbers = iter(range(10**6))


@pytest.fixture(autouse=True)
def read_model(rig: Rig) -> None:
    rig.handlers = engagement.handlers(EngagementSettings())
    rig.schedule = Schedule([3_600_000], 0)


def at(minute: int) -> int:
    return int(datetime(2026, 1, 1, 0, minute, tzinfo=UTC).timestamp() * 1000)


def crm(kind: str, minute: int = 0, **data: Any) -> Event:
    return event(
        f"crm-{next(_numbers)}",
        source="our-crm",
        event_type=kind,
        occurred_at_ms=at(minute),
        payload=json.dumps({"type": kind, "data": data}).encode(),
    )


def campaign(name: str = "c-1") -> Event:
    return crm("campaign.created", campaign_id=name, name="Spring", refs={"lemlist": f"cam_{name}"})


def enrollment(name: str = "e-1", minute: int = 0, *, campaign: str = "c-1", contact: int | str = 123) -> Event:
    return crm(
        "enrollment.created",
        minute,
        enrollment_id=name,
        campaign_id=campaign,
        email="ada@example.com",
        refs={"lemlist": f"lea_{name}", "hubspot": contact},
    )


def lemlist(kind: str = "emailsOpened", minute: int = 5, **changed: Any) -> Event:
    body = {"campaignId": "cam_c-1", "leadId": "lea_e-1"} | changed
    return event(
        f"act-{next(_numbers)}",
        source="lemlist-eu",
        provider="lemlist",
        event_type=kind,
        occurred_at_ms=at(minute),
        payload=json.dumps({key: value for key, value in body.items() if value is not None}).encode(),
    )


def hubspot(prop: str = "hs_email_last_open_date", minute: int = 5, **changed: Any) -> Event:
    body = {"objectId": 123, "propertyName": prop, "propertyValue": "1"} | changed
    return event(
        f"hs-{next(_numbers)}",
        source="hubspot-eu",
        provider="hubspot",
        event_type=changed.pop("event_type", "contact.propertyChange"),
        occurred_at_ms=at(minute),
        payload=json.dumps(body).encode(),
    )


def workflow(action: str, **body: Any) -> Event:
    return event(
        f"wf-{next(_numbers)}",
        source="hubspot-eu",
        provider="hubspot",
        event_type=f"workflow.{action}",
        occurred_at_ms=at(5),
        payload=json.dumps(body).encode(),
    )


async def counted(rig: Rig) -> dict[tuple[str, str], int]:
    rows = await rig.rows("SELECT campaign_id, event_type, count FROM campaign_metrics")
    return {(row[0], row[1]): row[2] for row in rows}


async def test_lemlist_and_hubspot_count_for_the_enrollment_they_name(rig: Rig) -> None:
    await rig.send(
        campaign(), enrollment(), lemlist(), lemlist("emailsSent"), hubspot(), workflow("replied", contactId=123)
    )
    assert await rig.drain() == {Outcome.APPLIED: 6}
    assert await counted(rig) == {("c-1", "opened"): 2, ("c-1", "sent"): 1, ("c-1", "replied"): 1}


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("emailsSent", "sent"),
        ("emailsOpened", "opened"),
        ("emailsClicked", "clicked"),
        ("emailsReplied", "replied"),
        ("emailsBounced", "bounced"),
        ("emailsUnsubscribed", "unsubscribed"),
        ("emailsFailed", "failed"),
        ("emailsSendFailed", "failed"),
    ],
)
async def test_every_lemlist_action(rig: Rig, kind: str, action: str) -> None:
    await rig.send(campaign(), enrollment(), lemlist(kind))
    await rig.drain()
    assert await counted(rig) == {("c-1", action): 1}


async def test_group_events_restate_activities_and_are_not_counted(rig: Rig) -> None:
    await rig.send(campaign(), enrollment(), lemlist("hooked"), lemlist("warmed"), lemlist("emailsInterested"))
    assert (await rig.drain())[Outcome.IGNORED] == 3
    assert await counted(rig) == {}


async def test_events_without_a_campaign_are_no_orphans(rig: Rig) -> None:
    await rig.send(lemlist("emailsUnsubscribed", campaignId=None), lemlist("sendLimitReached", leadId=None))
    assert await rig.drain() == {Outcome.IGNORED: 2}


async def test_a_campaign_without_a_lead_is_a_letter(rig: Rig) -> None:
    await rig.send(lemlist(leadId=None))
    assert await rig.drain() == {Outcome.DEAD: 1}


async def test_everything_backwards_is_counted_without_waiting_for_the_clock(rig: Rig) -> None:
    """The retry delay is an hour: only releases can bring these in. Engagement, then status, enrollment, campaign."""
    worker = rig.worker()
    await worker.intake.make_groups()
    for step in (
        [lemlist(minute=3), hubspot(minute=4), workflow("clicked", enrollmentId="e-1")],
        [crm("enrollment.paused", 7, enrollment_id="e-1")],
        [enrollment()],
        [campaign()],
    ):
        await rig.send(*step)
        while await worker.run_once():
            pass
    await rig.drain(worker)
    assert await counted(rig) == {("c-1", "opened"): 2, ("c-1", "clicked"): 1}
    assert await rig.rows("SELECT status, last_action FROM enrollments") == [("paused", "clicked")]


async def test_the_newest_status_and_action_win_whatever_arrives_last(rig: Rig) -> None:
    await rig.send(campaign(), enrollment())
    await rig.drain()
    await rig.send(crm("enrollment.completed", 9, enrollment_id="e-1"), lemlist("emailsReplied", 8))
    await rig.drain()
    await rig.send(crm("enrollment.paused", 3, enrollment_id="e-1"), lemlist("emailsOpened", 2))
    await rig.drain()
    ((status, action, when),) = await rig.rows("SELECT status, last_action, last_action_at FROM enrollments")
    assert (status, action, int(when.timestamp() * 1000)) == ("completed", "replied", at(8))


async def test_a_hubspot_event_belongs_to_the_newest_active_enrollment(rig: Rig) -> None:
    await rig.send(campaign("c-1"), campaign("c-2"), campaign("c-3"))
    await rig.send(enrollment("e-1", 1), enrollment("e-2", 2, campaign="c-2"), enrollment("e-3", 3, campaign="c-3"))
    await rig.send(crm("enrollment.completed", 4, enrollment_id="e-3"))
    await rig.drain()
    await rig.send(hubspot())
    await rig.drain()
    assert await counted(rig) == {("c-2", "opened"): 1}
    await rig.send(workflow("opened", contactId=123, enrollmentId="e-1"))
    await rig.drain()
    assert (await counted(rig))["c-1", "opened"] == 1


async def test_an_open_after_the_campaign_is_over_still_counts(rig: Rig) -> None:
    await rig.send(campaign(), enrollment(), crm("enrollment.completed", 4, enrollment_id="e-1"))
    await rig.drain()
    await rig.send(hubspot())
    assert await rig.drain() == {Outcome.APPLIED: 1}
    assert await counted(rig) == {("c-1", "opened"): 1}


async def test_property_changes_that_are_no_engagement_are_ignored(rig: Rig) -> None:
    await rig.send(
        hubspot("lifecyclestage"),
        hubspot(event_type="company.propertyChange"),
        hubspot("hs_email_optout", propertyValue="false"),
        hubspot(event_type="object.propertyChange", objectTypeId="0-2"),
        workflow("somethingelse", contactId=1),
    )
    assert await rig.drain() == {Outcome.IGNORED: 5}


async def test_generic_object_events_of_a_contact_count(rig: Rig) -> None:
    await rig.send(campaign(), enrollment(), hubspot(event_type="object.propertyChange", objectTypeId="0-1"))
    await rig.drain()
    assert await counted(rig) == {("c-1", "opened"): 1}


async def test_the_mapping_is_settings(rig: Rig) -> None:
    rig.handlers = engagement.handlers(
        EngagementSettings.model_validate(
            {"hubspot": {"properties": {"our_prop": "bounced"}, "workflow_contact": "a.b"}}
        )
    )
    await rig.send(campaign(), enrollment(), hubspot("our_prop"), workflow("sent", a={"b": 123}))
    await rig.drain()
    assert await counted(rig) == {("c-1", "bounced"): 1, ("c-1", "sent"): 1}


async def test_an_announcement_without_its_ids_is_a_letter(rig: Rig) -> None:
    await rig.send(crm("campaign.created", name="x"), crm("enrollment.created", email="x"), crm("enrollment.paused"))
    assert await rig.drain() == {Outcome.DEAD: 3}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
async def test_refs_announced_one_by_one_are_all_kept(rig: Rig, together: bool, backwards: bool) -> None:
    steps = [
        crm("campaign.created", 1, campaign_id="c-1", name="old", refs={"lemlist": "cam_c-1", "both": "old"}),
        crm("campaign.created", 2, campaign_id="c-1", name="new", refs={"other": "x", "both": "new"}),
    ]
    for step in reversed(steps) if backwards else steps:
        await rig.send(step)
        if not together:
            await rig.drain()
    await rig.drain()
    assert await rig.rows("SELECT name, refs FROM campaigns") == [
        ("new", {"lemlist": "cam_c-1", "other": "x", "both": "new"})
    ]


@pytest.mark.parametrize("backwards", [True, False])
async def test_an_enrollment_announced_again_takes_the_newest_and_keeps_its_refs(rig: Rig, backwards: bool) -> None:
    await rig.send(campaign("c-1"), campaign("c-2"))
    steps = [enrollment("e-1", 1, contact=""), enrollment("e-1", 2, campaign="c-2", contact=5)]
    for step in reversed(steps) if backwards else steps:
        await rig.send(step)
        await rig.drain()
    assert await rig.rows("SELECT campaign_id, refs FROM enrollments") == [
        ("c-2", {"lemlist": "lea_e-1", "hubspot": "5"})
    ]
