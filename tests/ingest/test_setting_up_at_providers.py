"""What providers ask a URL before they send events to it, and with what body they are content: over HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.ingest.running import running
from tidegate.postgres import Pool
from tidegate.stream import Stream

SECRET = "s3cret-of-the-hook"
DISCORD = Ed25519PrivateKey.generate()
JSON = {"Content-Type": "application/json"}


def _source(provider: str, secret: str = SECRET) -> dict[str, Any]:
    return {provider: {"provider": provider, "secrets": [secret]}}


def _of_discord(body: bytes, key: Ed25519PrivateKey = DISCORD) -> dict[str, str]:
    now = str(int(time.time()))
    signature = key.sign(now.encode() + body).hex()
    return JSON | {"X-Signature-Timestamp": now, "X-Signature-Ed25519": signature}


async def test_discord_saves_the_url_of_its_events(stream: Stream, pool: Pool) -> None:
    public = DISCORD.public_key().public_bytes_raw().hex()
    ping = b'{"version": 1, "application_id": "1", "type": 0}'
    event = b'{"version": 1, "application_id": "1", "type": 1, "event": {"type": "ENTITLEMENT_CREATE", "data": {}}}'
    async with running(stream, pool, sources_of_test=_source("discord", public)) as gate:
        path = "/webhooks/discord"
        status, _, text = await gate.raw("POST", path, data=ping, headers=_of_discord(ping))
        assert (status, text) == (204, "")
        stranger = Ed25519PrivateKey.generate()
        status, _, _ = await gate.raw("POST", path, data=ping, headers=_of_discord(ping, stranger))
        assert status == 401
        status, answered, text = await gate.raw("POST", path, data=event, headers=_of_discord(event))
        assert (status, text) == (204, "")
        assert "content-type" not in answered
        assert [kept.event.event_type for kept in await gate.waiting()] == ["ENTITLEMENT_CREATE"]


async def test_discord_saves_the_url_of_interactions(stream: Stream, pool: Pool) -> None:
    public = DISCORD.public_key().public_bytes_raw().hex()
    ping = b'{"id": "7", "application_id": "1", "type": 1, "token": "t"}'
    command = b'{"id": "8", "application_id": "1", "type": 2, "token": "t", "data": {"name": "hello"}}'
    async with running(stream, pool, sources_of_test=_source("discord-interactions", public)) as gate:
        path = "/webhooks/discord-interactions"
        status, answered, text = await gate.raw("POST", path, data=ping, headers=_of_discord(ping))
        assert (status, answered["content-type"], text) == (200, "application/json", {"type": 1})
        # 202 without a body says that a worker answers; any body would be taken for the answer itself.
        status, _, text = await gate.raw("POST", path, data=command, headers=_of_discord(command))
        assert (status, text) == (202, "")
        assert [kept.event.event_type for kept in await gate.waiting()] == ["interaction.2.hello"]


async def test_xero_validates_the_url(stream: Stream, pool: Pool) -> None:
    asked = b'{"events":[],"firstEventSequence": 0,"lastEventSequence": 0, "entropy": "S0m3r4Nd0mt3xt"}'
    right = base64.b64encode(hmac.digest(SECRET.encode(), asked, hashlib.sha256)).decode()
    async with running(stream, pool, sources_of_test=_source("xero")) as gate:
        status, _, text = await gate.raw(
            "POST", "/webhooks/xero", data=asked, headers=JSON | {"x-xero-signature": right}
        )
        assert (status, text) == (200, "")
        wrong = JSON | {"x-xero-signature": right[::-1]}
        status, _, _ = await gate.raw("POST", "/webhooks/xero", data=asked, headers=wrong)
        assert status == 401
        assert await gate.waiting() == []


async def test_asana_gets_its_secret_back_and_keeps_the_hook(stream: Stream, pool: Pool) -> None:
    async with running(stream, pool, sources_of_test=_source("asana")) as gate:
        offered = {"X-Hook-Secret": "b537207f20cbfa02357cf448134da559"}
        status, answered, _ = await gate.raw("POST", "/webhooks/asana", headers=offered)
        assert (status, answered["x-hook-secret"]) == (200, offered["X-Hook-Secret"])
        # Without a 200 to the heartbeat Asana deletes the hook after a day.
        status, _, _ = await gate.post("asana", b'{"events": []}')
        assert status == 200
        # What it offers opens nothing: only what is configured does.
        forged = hmac.new(offered["X-Hook-Secret"].encode(), b'{"events": [{}]}', hashlib.sha256).hexdigest()
        headers = JSON | {"X-Hook-Signature": forged}
        status, _, _ = await gate.raw("POST", "/webhooks/asana", data=b'{"events": [{}]}', headers=headers)
        assert status == 401
        assert await gate.waiting() == []


async def test_trello_finds_somebody_there(stream: Stream, pool: Pool) -> None:
    async with running(stream, pool, sources_of_test=_source("trello")) as gate:
        status, _, _ = await gate.raw("HEAD", "/webhooks/trello")
        assert status == 200


async def test_okta_verifies_the_url_and_sends_several_events(stream: Stream, pool: Pool) -> None:
    async with running(stream, pool, sources_of_test=_source("okta")) as gate:
        asked = {"X-Okta-Verification-Challenge": "some-challenge"}
        status, _, text = await gate.raw("GET", "/webhooks/okta", headers=asked)
        assert (status, text) == (200, {"verification": "some-challenge"})
        events = b"""{"eventType": "com.okta.event_hook", "data": {"events": [{"uuid": "1", "eventType": "user.session.start"},
        {"uuid": "2", "eventType": "user.lifecycle.deactivate"}]}}"""
        status, _, text = await gate.post("okta", events)
        assert (status, text) == (204, "")
        kept = [found.event.event_type for found in await gate.waiting()]
        assert sorted(kept) == ["user.lifecycle.deactivate", "user.session.start"]


async def test_microsoft_graph_validates_the_url(stream: Stream, pool: Pool) -> None:
    async with running(stream, pool, sources_of_test=_source("microsoft-graph")) as gate:
        path = f"/webhooks/microsoft-graph?token={SECRET}&validationToken=Validation%3A+Testing+%26+more"
        status, answered, text = await gate.raw("POST", path, headers={"Content-Type": "text/plain; charset=utf-8"})
        assert (status, text) == (200, "Validation: Testing & more")
        assert answered["content-type"].startswith("text/plain")
        event = b'{"value": [{"id": "1", "changeType": "created", "resource": "me/messages/2"}]}'
        status, _, _ = await gate.raw("POST", "/webhooks/microsoft-graph", data=event, headers=JSON)
        assert status == 401
        status, _, _ = await gate.raw("POST", f"/webhooks/microsoft-graph?token={SECRET}", data=event, headers=JSON)
        assert status == 202


async def test_front_gets_its_challenge_back_where_it_is_signed(stream: Stream, pool: Pool) -> None:
    async with running(stream, pool, sources_of_test=_source("front")) as gate:
        asked = b'{"type": "sync", "authorization": {"id": "cmp_1"}}'
        status, _, text = await gate.post("front", asked, X_Front_Challenge="3eZbrw1aBm2r")
        assert (status, text) == (200, {"challenge": "3eZbrw1aBm2r"})
        headers = JSON | {"X-Front-Challenge": "3eZbrw1aBm2r"}
        status, _, _ = await gate.raw("POST", "/webhooks/front", data=asked, headers=headers)
        assert status == 401
        assert await gate.waiting() == []
