"""Providers that give their events no id: what tells one from another, and stays the same when it is sent again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.adapters import build
from ingest.adapters.base import RefusedError
from tests.ingest.adapters.requests import NOW, request

SECRET = "1f0e2d3c4b5a69788796a5b4c3d2e1f0"


def identified(
    provider: str, value: dict[str, Any], *, later_seconds: int = 0, headers: dict[str, str] | None = None
) -> str:
    """Return the id of the event in ``value``, as the provider sends it after a while, perhaps once more."""
    adapter = build(provider, [f"user:{SECRET}" if provider == "postmark" else SECRET])
    made, body = adapter.sign(
        json.dumps(value).encode(),
        url="https://hooks.example.com/x",
        now_seconds=NOW + later_seconds,
        message_id="m",
        headers=list((headers or {}).items()),
    )
    [event] = adapter.split(request(body, made))
    return event.provider_event_id


def zoom(event_ts: int = 1, **held: Any) -> dict[str, Any]:
    return {
        "event": "meeting.participant_joined",
        "event_ts": event_ts,
        "payload": {"account_id": "a", "object": {"id": "85200000001", "uuid": "u==", **held}},
    }


def calendly(
    uri: str = "i/1", kind: str = "invitee.created", at: str = "2026-11-24T10:00:00.000000Z"
) -> dict[str, Any]:
    return {"event": kind, "created_at": at, "payload": {"uri": uri, "email": "ada@example.com"}}


def smartlead(**held: Any) -> dict[str, Any]:
    return {"event_type": "EMAIL_OPEN", "stats_id": "s", "event_timestamp": "2026-11-24T10:00:00Z", **held}


def outreach(delivered_at: str = "2026-11-24T10:00:00Z", **attributes: Any) -> dict[str, Any]:
    data = {"type": "mailing", "id": 7, "attributes": attributes}
    return {"data": data, "meta": {"eventName": "mailing.updated", "deliveredAt": delivered_at}}


def figma(**held: Any) -> dict[str, Any]:
    return {
        "event_type": "LIBRARY_PUBLISH",
        "webhook_id": "22",
        "timestamp": "2026-11-24T10:00:00Z",
        "file_key": "z",
        **held,
    }


OTHER_NAMES = {"event": "EMAIL_OPENED", "timestamp": "2026-11-24T10:00:00Z", "lead_id": 7}


CLICK = {
    "RecordType": "Click",
    "MessageID": "m",
    "Recipient": "ada@example.com",
    "OriginalLink": "https://example.com/a",
    "ReceivedAt": "2026-11-24T10:00:00Z",
}


@pytest.mark.parametrize(
    ("provider", "first", "other"),
    [
        ("zoom", zoom(), zoom(event_ts=2)),
        ("zoom", zoom(), zoom(uuid="v==")),
        # Two people who come in within one millisecond.
        ("zoom", zoom(participant={"participant_uuid": "p1"}), zoom(participant={"participant_uuid": "p2"})),
        ("zoom", zoom(participant={"user_id": "1"}), zoom(participant={"user_id": "2"})),
        ("zoom", {"event": "user.dreamt", "payload": {"a": 1}}, {"event": "user.dreamt", "payload": {"a": 2}}),
        ("calendly", calendly(), calendly(uri="i/2")),
        ("calendly", calendly(), calendly(kind="invitee.canceled")),
        ("calendly", calendly(), calendly(at="2026-11-24T10:00:01.000000Z")),
        ("smartlead", smartlead(), smartlead(event_timestamp="2026-11-24T10:00:01Z")),
        ("smartlead", smartlead(), smartlead(stats_id="t")),
        ("smartlead", smartlead(), smartlead(event_type="EMAIL_LINK_CLICK")),
        ("smartlead", OTHER_NAMES, OTHER_NAMES | {"lead_id": 8}),
        ("smartlead", OTHER_NAMES, OTHER_NAMES | {"timestamp": "2026-11-24T10:00:01Z"}),
        # Of the guide's events some have a message's id and only a time of their own name.
        (
            "smartlead",
            {"event_type": "EMAIL_SENT", "message_id": "m"},
            {"event_type": "EMAIL_SENT", "message_id": "m", "n": 1},
        ),
        ("outreach", outreach(openCount=1), outreach(openCount=2)),
        ("outreach", outreach(), outreach("2026-11-24T10:00:01Z")),
        # One publication of a library is one event for its components and one for its styles, of the same moment.
        (
            "figma",
            figma(created_components=[{"key": "c"}]),
            figma(created_components=[], created_styles=[{"key": "s"}]),
        ),
        (
            "docusign",
            {"event": "template-created", "data": {"templateId": "t"}},
            {"event": "template-created", "data": {"templateId": "u"}},
        ),
        # What guards a mailbox opens all links of a message at once.
        ("postmark", CLICK, CLICK | {"OriginalLink": "https://example.com/b"}),
        ("instantly", {"event_type": "email_sent", "timestamp": "a"}, {"event_type": "email_sent", "timestamp": "b"}),
    ],
)
def test_two_events_are_two_and_one_that_is_sent_again_is_one(
    provider: str, first: dict[str, Any], other: dict[str, Any]
) -> None:
    assert identified(provider, first) != identified(provider, other)
    assert identified(provider, first) == identified(provider, first, later_seconds=60)


def test_what_changes_with_each_delivery_is_no_part_of_an_id() -> None:
    recording = zoom(recording_files=[{"download_url": "https://a", "download_token": "t1"}])
    again = zoom(recording_files=[{"download_url": "https://b", "download_token": "t2"}])
    assert identified("zoom", recording) == identified("zoom", again)
    requests = [identified("outreach", outreach(), headers={"Outreach-Webhook-ID": name}) for name in ("r1", "r2")]
    assert requests[0] == requests[1]
    assert identified("smartlead", smartlead()) == identified("smartlead", smartlead(secret_key="older"))
    assert identified("figma", figma(retries=0)) == identified("figma", figma(retries=1))


def test_salesloft_says_in_a_header_what_happened_to_the_record_in_the_body() -> None:
    record = {"id": 1, "updated_at": "2026-11-24T10:00:00Z"}
    created, updated = (
        identified("salesloft", record, headers={"x-salesloft-event": name})
        for name in ("person_created", "person_updated")
    )
    assert created != updated


def test_intercoms_own_id_goes_before_the_content() -> None:
    event = {"topic": "contact.created", "id": "notif_1", "delivery_attempts": 1}
    assert identified("intercom", event) == identified("intercom", event | {"delivery_attempts": 2}) == "notif_1"
    ping = {"topic": "ping", "id": None, "created_at": 1}
    assert identified("intercom", ping) != identified("intercom", ping | {"created_at": 2})


def test_of_an_event_without_its_id_it_is_said_where_that_was_looked_for() -> None:
    own = {"acme": {"signature": {"kind": "token", "header": "X-T"}, "events": {"id": "data.order.id | header:X-Id"}}}
    with pytest.raises(RefusedError) as caught:
        build("acme", [SECRET], own=own).split(request(b'{"type": "x"}', []))
    assert caught.value.reason == "no_event_id"
    assert caught.value.detail.endswith("events.id is data.order.id, else header:X-Id")


@pytest.mark.parametrize(
    ("provider", "alike"),
    [
        ("clickup", {"event": "folderUpdated", "folder_id": "96772212", "webhook_id": "7fa3ec74"}),
        (
            "microsoft-graph",
            {"value": [{"subscriptionId": "s", "resource": "/me/drive/root", "changeType": "updated"}]},
        ),
    ],
)
def test_of_events_that_are_the_same_to_the_last_byte_none_is_lost(provider: str, alike: dict[str, Any]) -> None:
    assert identified(provider, alike) != identified(provider, alike)


def test_sanitys_key_tells_two_changes_of_a_document_whose_projection_shows_neither() -> None:
    projected = {"slug": "tide"}
    first, second = (identified("sanity", projected, headers={"Idempotency-Key": key}) for key in ("k1", "k2"))
    assert first != second


def test_what_postmark_has_yet_to_invent_is_told_apart_rather_than_refused_for_good() -> None:
    adapter = build("postmark", ["user:password"])
    ids = set()
    for value in ({"RecordType": "Dream", "n": 1}, {"RecordType": "Dream", "n": 2}):
        made, body = adapter.sign(
            json.dumps(value).encode(), url="https://h.example/x", now_seconds=NOW, message_id="m"
        )
        [event] = adapter.split(request(body, made))
        ids.add(event.provider_event_id)
    assert len(ids) == 2
