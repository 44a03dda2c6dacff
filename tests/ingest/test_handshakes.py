"""What a provider asks before it sends anything, and how each wants to be told that its events were taken; over a socket."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from ingest.adapters import catalogue
from ingest.adapters.samples import sample
from tests.ingest.running import Running, running
from tidegate.stream import Stream

SECRET = "1f0e2d3c4b5a69788796a5b4c3d2e1f0"
NAMES = [
    *("calendly", "instantly", "intercom", "mailgun", "outreach", "salesforce-outbound", "salesloft", "smartlead"),
    *("twilio", "typeform", "zoom"),
]
PUBLIC = "https://hooks.example.com/webhooks/"


@pytest_asyncio.fixture
async def gate(stream: Stream) -> AsyncIterator[Running]:
    configured: dict[str, Any] = {
        name: {"provider": name, "secrets": ["older-" + SECRET, SECRET], "public_url": PUBLIC + name} for name in NAMES
    }
    configured["hubspot"] = {
        "provider": "hubspot",
        "secrets": [SECRET],
        "public_url": PUBLIC + "hubspot",
        "options": {"workflow": {"id": "run"}},
    }
    async with running(stream, sources_of_test=configured) as started:
        yield started


def zoom(body: bytes, *, key: str = SECRET, late_seconds: int = 0) -> dict[str, str]:
    """Return the headers of ``body`` as Zoom signs it."""
    timestamp = str(int(time.time()) - late_seconds)
    made = hmac.new(key.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/json",
        "x-zm-request-timestamp": timestamp,
        "x-zm-signature": f"v0={made}",
    }


async def test_zoom_is_told_that_the_url_is_ours_with_the_secret_that_it_asked_with(gate: Running) -> None:
    body = b'{"event": "endpoint.url_validation", "event_ts": 1, "payload": {"plainToken": "Zoom-asks-this"}}'
    for key in (SECRET, "older-" + SECRET):
        status, _, answer = await gate.raw("POST", "/webhooks/zoom", data=body, headers=zoom(body, key=key))
        expected = hmac.new(key.encode(), b"Zoom-asks-this", hashlib.sha256).hexdigest()
        assert (status, answer) == (200, {"plainToken": "Zoom-asks-this", "encryptedToken": expected})
    assert await gate.waiting() == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"event": "endpoint.url_validation", "payload": {}}',
        b'{"event": "endpoint.url_validation", "payload": {"plainToken": 5.5}}',
        b'{"event": "endpoint.url_validation", "payload": {"plainToken": ["x"]}}',
        b'{"event": "endpoint.url_validation", "payload": {"plainToken": "%s"}}' % (b"x" * 5000),
        b'{"event": "endpoint.url_validation"}',
    ],
)
async def test_a_validation_without_a_token_is_refused(gate: Running, body: bytes) -> None:
    assert (await gate.raw("POST", "/webhooks/zoom", data=body, headers=zoom(body)))[0] == 400


async def test_a_stranger_gets_nothing_hashed_with_our_secret(gate: Running) -> None:
    body = b'{"event": "endpoint.url_validation", "payload": {"plainToken": "v0:1789000000:{}"}}'
    bare = {"content-type": "application/json"}
    for headers in (bare, zoom(body, key="guess"), zoom(body, late_seconds=6000), zoom(body, late_seconds=-400)):
        status, _, answer = await gate.raw("POST", "/webhooks/zoom", data=body, headers=headers)
        assert status == 401
        assert "encryptedToken" not in answer


async def test_zooms_last_repetition_comes_85_minutes_late_and_is_taken(gate: Running) -> None:
    body = b'{"event": "meeting.ended", "event_ts": 1, "payload": {"object": {"uuid": "u=="}}}'
    status, _, _ = await gate.raw("POST", "/webhooks/zoom", data=body, headers=zoom(body, late_seconds=85 * 60))
    assert status == 200
    (kept,) = await gate.waiting()
    assert kept.event.provider_event_id == "meeting.ended:u==:1"


async def test_intercoms_ping_has_no_id_and_is_taken_once(gate: Running) -> None:
    body = b'{\n\t"type": "notification_event", "topic": "ping", "id": null, "created_at": 1513466985, "data": {}\n}'
    proof = "sha1=" + hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()
    answers = []
    for _ in range(2):
        headers = {"x-hub-signature": proof, "content-type": "application/json"}
        answers.append((await gate.raw("POST", "/webhooks/intercom", data=body, headers=headers))[2])
    assert [answer["accepted"] for answer in answers] == [1, 0]


ANSWERS: dict[str, tuple[int, str, str]] = {
    "mailgun": (200, "application/json", ""),
    "outreach": (200, "application/json", ""),
    "smartlead": (200, "application/json", ""),
    "zoom": (200, "application/json", ""),
    # Anything but TwiML is Twilio's error 12300; anything but this leaves Salesforce sending for a day.
    "twilio": (200, "text/xml", "<Response/>"),
    "salesforce-outbound": (200, "text/xml; charset=utf-8", "<Ack>true</Ack>"),
}


@pytest.mark.parametrize("name", NAMES)
async def test_every_kind_of_sample_is_taken_and_answered_in_the_providers_terms(gate: Running, name: str) -> None:
    words, source = catalogue.declaration(name), gate.sources[name]
    wanted = ANSWERS.get(name, (202, "application/json", ""))
    kinds = [found.type for found in words.samples]
    for kind in kinds:
        filled = sample(words, event_type=kind)
        headers, body = source.adapter.sign(
            filled.body, url=PUBLIC + name, now_seconds=time.time(), message_id=f"m-{kind}", headers=filled.headers
        )
        path = source.adapter.called(PUBLIC + name).removeprefix("https://hooks.example.com")
        status, answered, text = await gate.raw("POST", path, data=body, headers=headers)
        assert (status, answered["content-type"]) == wanted[:2]
        assert wanted[2] in (text if isinstance(text, str) else json.dumps(text))
    kept = await gate.waiting()
    assert sorted(item.event.event_type for item in kept) == sorted(kinds)
    assert all(SECRET.encode() not in item.event.payload for item in kept)
    assert all(SECRET not in json.dumps(dict(item.event.headers)) for item in kept)


async def test_a_workflow_of_hubspot_may_call_with_get(gate: Running) -> None:
    def signed(query: str, version: str = "v2", method: str = "GET") -> dict[str, str]:
        text = SECRET + (f"{method}{PUBLIC}hubspot{query}" if version == "v2" else "")
        return {
            "x-hubspot-signature": hashlib.sha256(text.encode()).hexdigest(),
            "x-hubspot-signature-version": version,
        }

    async def get(query: str, headers: dict[str, str]) -> int:
        status: int = (await gate.raw("GET", f"/webhooks/hubspot{query}", headers=headers))[0]
        return status

    query = "?run=77&event=reopened&contactId=9&note=Zo%C3%AB"
    assert await get(query, signed(query)) == 202
    (kept,) = await gate.waiting()
    event: Any = kept.event
    assert (event.provider_event_id, event.event_type, event.key) == ("77", "workflow.reopened", "contact:9")
    assert json.loads(event.payload) == {"run": "77", "event": "reopened", "contactId": "9", "note": "Zoë"}
    # Authentic, but nothing tells it from the next one ...
    for nameless in ("", "?event=reopened", "?run=1&run=2", "?run="):
        assert await get(nameless, signed(nameless)) == 400
    # ... signed so that its parameters may be anybody's ...
    assert await get(query, signed(query, "v1")) == 400
    # ... and not authentic at all.
    assert await get(query, signed("?run=78")) == 401
    assert await get(query, signed(query, method="POST")) == 401
    assert await get(query, {}) == 401
    assert await gate.waiting() == [kept]
