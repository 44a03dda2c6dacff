"""The look at Redis: is there room, which sources are paused. Once a second, and never in the way of a request."""

from __future__ import annotations

import asyncio
import time

from redis.exceptions import RedisError

from ingest.admission import LIMITS, Admission, Look
from tidegate.ledger import OUT
from tidegate.stream import UNAVAILABLE, PauseView, Stream
from tidegate.telemetry import logs, metrics

log = logs.get(__name__)

EVERY_SECONDS = 1.0


class Looking:
    """Looks until cancelled. A Redis that does not answer is the fuse's to notice: it is asked again a second later."""

    def __init__(self, stream: Stream, admission: Admission, pauses: PauseView) -> None:
        self._stream = stream
        self._admission = admission
        self._pauses = pauses
        self._is_refused = False

    async def run(self) -> None:
        """Look every second."""
        while True:
            try:
                await self.once()
            except UNAVAILABLE:
                pass
            except RedisError as error:
                self._refused(error)
            except Exception:
                log.exception("a look at Redis failed; the gate goes on without")
            await asyncio.sleep(EVERY_SECONDS)

    def _refused(self, error: RedisError) -> None:
        """A Redis that will not be looked at, as a rule for want of rights: say so once, the gate goes on without."""
        if not self._is_refused:
            self._is_refused = True
            log.warning(
                "Redis may not be looked at: only the backlog limits what is taken, memory and age do not",
                error=str(error)[:300],
            )

    async def once(self) -> None:
        """Look once, and say when the gate begins or ends to turn requests away."""
        await self._pauses.refresh()
        before = self._admission.why
        self._admission.saw(await look(self._stream))
        now = self._admission.why
        for limit in LIMITS:
            metrics.ADMISSION_CLOSED.labels(limit).set(limit == now)
        if now and not before:
            log.warning("no room: requests are answered 503", limit=now)
        elif before and not now:
            log.info("there is room again", limit=before)


async def look(stream: Stream) -> Look:
    """Return Redis as it is now."""
    states = [await stream.audit(shard) for shard in range(len(stream.keys))]
    memory = await stream.client.info("memory")
    return Look(
        at_seconds=time.monotonic(),
        backlog=max(state.events + state.retry for state in states),
        oldest_seconds=max((state.oldest_event_age_ms or 0) / 1000 for state in states),
        memory_bytes=int(memory["used_memory"]),
        memory_bytes_max=int(memory.get("maxmemory", 0)),
        settled=sum(value for state in states for (name, _), value in state.ledger.items() if name in OUT),
    )
