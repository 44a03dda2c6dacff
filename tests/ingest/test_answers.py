"""What a source's provider is answered, in its own terms, and what is kept of what it sent."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.ingest.running import running
from tidegate.postgres import Pool
from tidegate.stream import Stream

SECRET = "s3cret-of-the-hook"
OWN: dict[str, Any] = {
    "signature": {"kind": "token", "header": "X-Acme"},
    "events": {"id": "id", "type": "type"},
    "answers": {"success": 200, "text": "[accepted]", "refused": 406, "busy": 429},
}
SOURCE = {"acme": {"provider": "acme", "secrets": [SECRET]}}


@pytest.fixture
def providers() -> dict[str, Any]:
    return {"acme": OWN}


async def test_the_answers_are_the_providers_own(stream: Stream, pool: Pool, providers: dict[str, Any]) -> None:
    async with running(stream, pool, sources_of_test=SOURCE, providers=providers) as gate:
        headers = {"X-Acme": SECRET, "Content-Type": "application/json"}
        path = "/webhooks/acme"
        status, answered, text = await gate.raw("POST", path, headers=headers, data=b'{"id": 1, "type": "a"}')
        assert (status, answered["content-type"], text) == (200, "text/plain", "[accepted]")
        assert answered["tidegate-durability"] == "redis"
        # What it can never send otherwise it is told in its own words, so that it gives up ...
        status, _, problem = await gate.raw("POST", path, headers=headers, data=b"{")
        assert (status, problem["status"]) == (406, 406)
        # ... and a stranger learns nothing of that.
        status, _, _ = await gate.raw("POST", path, headers=headers | {"X-Acme": "guess"}, data=b"{")
        assert status == 401


async def test_a_204_ends_without_the_text_that_was_declared_for_it(
    stream: Stream, pool: Pool, providers: dict[str, Any]
) -> None:
    handshake = {"when": {"type": "hello"}, "signed": False, "status": 204, "text": "type"}
    words = OWN | {"answers": {"success": 204, "text": "[accepted]"}, "handshakes": [handshake]}
    async with running(stream, pool, sources_of_test=SOURCE, providers={"acme": words}) as gate:
        headers = {"X-Acme": SECRET, "Content-Type": "application/json"}
        for body in (b'{"type": "hello"}', b'{"id": 1, "type": "a"}'):
            status, answered, _ = await gate.raw("POST", "/webhooks/acme", headers=headers, data=body)
            assert (status, answered.get("content-length")) == (204, None)
        assert len(await gate.waiting()) == 1


async def test_no_header_that_proves_anything_is_kept(stream: Stream, pool: Pool, providers: dict[str, Any]) -> None:
    """Whatever it is called: `X-Acme` looks like no secret."""
    async with running(stream, pool, sources_of_test=SOURCE, providers=providers) as gate:
        headers = {"X-Acme": SECRET, "X-Other": "kept"}
        await gate.raw("POST", "/webhooks/acme", headers=headers, json={"id": 1, "type": "a"})
        (kept,) = await gate.waiting()
        assert kept.event.headers["x-other"] == "kept"
        assert SECRET not in json.dumps(dict(kept.event.headers))


@pytest.mark.parametrize("query", ["", "?a=1"])
async def test_a_url_that_was_given_with_a_query_is_signed_with_it_once(stream: Stream, pool: Pool, query: str) -> None:
    """A proxy may have taken it off; put on twice it would make every signature fail."""
    told = "https://hooks.example.com/webhooks/eu?a=1"
    sources = {"eu": {"provider": "hubspot", "secrets": [SECRET], "public_url": told}}
    async with running(stream, pool, sources_of_test=sources) as gate:
        made, body = gate.sources["eu"].adapter.sign(
            b'{"eventId": "1"}', url=told, now_seconds=time.time(), message_id="m"
        )
        status, _, _ = await gate.raw("POST", f"/webhooks/eu{query}", headers=dict(made), data=body)
        assert status == 202
        status, _, _ = await gate.raw("POST", "/webhooks/eu?a=2", headers=dict(made), data=body)
        assert status == 401
