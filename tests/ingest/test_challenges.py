"""Providers that ask whether an URL is ours before they send to it get the answer that each of them wants."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import pytest

from ingest.adapters import build
from tests.ingest.running import running
from tidegate.postgres import Pool
from tidegate.stream import Stream

SECRET, TOKEN = "s3cret-of-the-app", "a-verify-token"
FORM = "application/x-www-form-urlencoded"
SOURCES: dict[str, dict[str, Any]] = {
    name: {"provider": name, "secrets": [SECRET]} for name in ("nylas", "x", "twitch", "woocommerce")
} | {name: {"provider": name, "secrets": [SECRET], "handshake_secret": TOKEN} for name in ("meta", "whatsapp")}


@pytest.mark.parametrize("source", ["meta", "whatsapp"])
async def test_meta_gets_its_challenge_back_for_the_right_token_alone(stream: Stream, pool: Pool, source: str) -> None:
    async with running(stream, pool, sources_of_test=SOURCES) as gate:
        asked = f"/webhooks/{source}?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
        assert await _answer(gate, "GET", asked + TOKEN) == (200, "1158201444")
        assert (await _answer(gate, "GET", asked + "guess"))[0] == 401
        assert (await _answer(gate, "GET", asked.removesuffix("&hub.verify_token=")))[0] == 401
        assert not await gate.waiting()


async def test_nylas_gets_its_challenge_back(stream: Stream, pool: Pool) -> None:
    async with running(stream, pool, sources_of_test=SOURCES) as gate:
        assert await _answer(gate, "GET", "/webhooks/nylas?challenge=bc609b38") == (200, "bc609b38")
        assert (await _answer(gate, "GET", "/webhooks/nylas?challenge="))[0] == 400


async def test_x_gets_the_hash_of_its_token(stream: Stream, pool: Pool) -> None:
    async with running(stream, pool, sources_of_test=SOURCES) as gate:
        status, text = await _answer(gate, "GET", "/webhooks/x?crc_token=NTY0MzI-abc_1%2B%2F%3D%3D")
        expected = hmac.digest(SECRET.encode(), b"NTY0MzI-abc_1+/==", "sha256")
        assert (status, json.loads(text)) == (200, {"response_token": f"sha256={base64.b64encode(expected).decode()}"})


@pytest.mark.parametrize("body", ["%7B%22data%22%3A1%7D", "%5B%5D", "%20%7B%7D", "a%0Ab", "%22a%22", "%C3%A9", ""])
async def test_nobody_gets_an_event_signed_by_asking_for_its_hash(stream: Stream, pool: Pool, body: str) -> None:
    async with running(stream, pool, sources_of_test=SOURCES) as gate:
        status, text = await _answer(gate, "GET", f"/webhooks/x?crc_token={body}")
        assert status == 400
        assert "sha256=" not in text


async def test_twitch_gets_its_challenge_back_when_it_is_signed(stream: Stream, pool: Pool) -> None:
    async with running(stream, pool, sources_of_test=SOURCES) as gate:
        kind = ("Twitch-Eventsub-Message-Type", "webhook_callback_verification")
        headers, body = build("twitch", [SECRET]).sign(
            b'{"challenge": "pogchamp", "subscription": {"type": "channel.follow"}}',
            url="http://gate/webhooks/twitch",
            now_seconds=time.time(),
            message_id="m1",
            headers=[("Twitch-Eventsub-Message-Id", "m1"), kind],
        )
        assert await _answer(gate, "POST", "/webhooks/twitch", headers=dict(headers), data=body) == (200, "pogchamp")
        changed = body.replace(b"pogchamp", b"kappa")
        assert (await _answer(gate, "POST", "/webhooks/twitch", headers=dict(headers), data=changed))[0] == 401
        assert not await gate.waiting()


@pytest.mark.parametrize("kind", [FORM, f"{FORM}; charset=UTF-8"])
async def test_woocommerce_may_ping_before_it_knows_how_to_sign(stream: Stream, pool: Pool, kind: str) -> None:
    async with running(stream, pool, sources_of_test=SOURCES) as gate:
        ping = {"headers": {"Content-Type": kind}, "data": b"webhook_id=7"}
        assert await _answer(gate, "POST", "/webhooks/woocommerce", **ping) == (200, "")
        order = {"headers": {"Content-Type": "application/json"}, "data": b'{"id": 1}'}
        assert (await _answer(gate, "POST", "/webhooks/woocommerce", **order))[0] == 401
        assert not await gate.waiting()


async def _answer(gate: Any, method: str, path: str, **more: Any) -> tuple[int, str]:
    status, _, text = await gate.raw(method, path, **more)
    return status, text if isinstance(text, str) else json.dumps(text)
