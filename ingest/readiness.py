"""/readyz of a gate: whether a 202 is possible."""

from __future__ import annotations

import time

from redis.exceptions import RedisError

from ingest.tiers import Tiers
from tidegate.stream import UNAVAILABLE, Client

ASK_EVERY_SECONDS = 1.0


class Readiness:
    """Asks Redis itself, at most once a second: without traffic nobody else notices that it is away."""

    def __init__(self, client: Client, tiers: Tiers) -> None:
        self._client = client
        self._tiers = tiers
        self._asked_at = float("-inf")
        self._stopping = False

    def stop(self) -> None:
        """The gate is about to leave: not ready from now on."""
        self._stopping = True

    async def __call__(self) -> dict[str, str]:
        """Return what is wrong, by part; empty when events can be made durable somewhere."""
        if self._stopping:
            return {"gate": "stopping"}
        if self._tiers.fuse.is_whole() and time.monotonic() - self._asked_at > ASK_EVERY_SECONDS:
            self._asked_at = time.monotonic()
            try:
                await self._client.ping()
            except (*UNAVAILABLE, RedisError) as error:
                self._tiers.fuse.blow(error)
        return self._tiers.why_not()
