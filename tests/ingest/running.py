"""A gate on a socket, put together as in production, over the stream and pool of a test."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from ingest.assembly import Parts, assemble, sources
from ingest.protocol import protocol
from ingest.source import Source
from tidegate.postgres import Pool
from tidegate.serving import listen, server
from tidegate.settings import Settings
from tidegate.stream import Stream
from tidegate.telemetry import metrics
from tidegate.wire import decode

SECRETS = {"crm": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "lemlist": "whk_secret-of-ours", "hubspot": "app-secret"}
PROVIDERS = {"crm": "standard-webhooks", "lemlist": "lemlist", "hubspot": "hubspot"}
BODIES = {
    "crm": b'{"type": "campaign.created", "timestamp": "2026-01-01T00:00:00Z", "data": {"campaign_id": "c-1"}}',
    "lemlist": b'{"_id": "act_1", "type": "emailsOpened", "campaignId": "cam_1", "leadId": "lea_1"}',
    "hubspot": b'[{"eventId": 1, "portalId": 2, "objectId": 3, "occurredAt": 1752662400000, '
    b'"subscriptionType": "contact.creation", "attemptNumber": 0, "subscriptionId": 4}]',
}


@dataclass
class Running:
    """A gate on a socket; `post` signs as the provider would."""

    url: str
    session: aiohttp.ClientSession
    sources: dict[str, Source]
    stream: Stream
    parts: Parts

    async def raw(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        async with self.session.request(method, f"{self.url}{path}", allow_redirects=False, **options) as answer:
            text = await answer.text()
            return answer.status, answer.headers, json.loads(text) if text.startswith("{") else text

    def signed(
        self, source: str, body: bytes | None = None, message_id: str = "msg_1"
    ) -> tuple[list[tuple[str, str]], bytes]:
        """Return headers and body as the provider would send them."""
        return self.sources[source].adapter.sign(
            body if body is not None else BODIES[source],
            url=self.sources[source].public_url or f"{self.url}/webhooks/{source}",
            now_seconds=time.time(),
            message_id=message_id,
        )

    async def post(
        self, source: str, body: bytes | None = None, message_id: str = "msg_1", **more: str
    ) -> tuple[int, Any, Any]:
        """Post a signed event; ``more`` are headers, `_` for `-`."""
        headers, signed = self.signed(source, body, message_id)
        headers += [(name.replace("_", "-"), value) for name, value in more.items()]
        return await self.raw("POST", f"/webhooks/{source}", data=io.BytesIO(signed), headers=headers)

    async def waiting(self) -> list[Any]:
        """Return the deliveries on the stream."""
        found = []
        for shard, keys in enumerate(self.stream.keys):
            await self.stream.ensure_group(shard)
            entries = await self.stream.read(self.stream.client, "test", count=1000, block_ms=None, shards=[shard])
            found += [decode(entry) for entry in entries]
            await self.stream.client.xgroup_destroy(keys.events, "workers")
        return found


@asynccontextmanager
async def running(
    stream: Stream,
    pool: Pool | None = None,
    *,
    backlog_max: int = 0,
    source: dict[str, Any] | None = None,
    secrets: dict[str, list[Any]] | None = None,
    sources_of_test: dict[str, Any] | None = None,
    providers: dict[str, Any] | None = None,
    clock: Callable[[], float] = time.time,
    **ingest: Any,
) -> AsyncIterator[Running]:
    """Run a gate; ``ingest`` are settings of that section, ``source`` some for each source, ``secrets`` those of some.

    ``sources_of_test`` are other sources than the usual three, ``providers`` the test's own ones, ``clock`` tells the time
    that signatures are compared with.
    """
    settings = Settings.model_validate(
        {
            "providers": providers or {},
            "sources": sources_of_test
            or {
                name: {
                    "provider": PROVIDERS[name],
                    "secrets": (secrets or {}).get(name, [SECRETS[name]]),
                    **(source or {}),
                }
                for name in SECRETS
            },
            "ingest": {"retry_after_seconds": 7, "retry_after_seconds_max": 60, **ingest},
            "stream": {"backlog_max": backlog_max, "prefix": stream.keys[0].prefix, "shards": len(stream.keys)},
        }
    )
    configured = sources(settings)
    metrics.declare_sources(configured)
    parts = assemble(configured, stream, pool, settings, clock=clock)
    listener = listen("127.0.0.1", 0)
    serving = server(parts.gate, http=protocol(parts.connections), trusted_proxies=settings.ingest.trusted_proxies)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with parts.running(), aiohttp.ClientSession() as session:
        task = asyncio.create_task(serving.serve(sockets=[listener]))
        try:
            yield Running(url, session, configured, stream, parts)
        finally:
            await session.close()
            serving.stop()
            await task
