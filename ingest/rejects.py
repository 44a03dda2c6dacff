"""What the gate refused, kept for the operator: noted in passing, written to Redis in the background.

A refusal must cost the gate next to nothing, or forged requests were a weapon. So `Rejects.note` only takes down what is at
hand, and of each kind (source and reason) only so many; what takes time is left to `Rejects.run`: finding out why a
signature fails, and Redis.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aiolimiter import AsyncLimiter
from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

from ingest import diagnosis
from ingest.adapters.base import Adapter, Request
from ingest.noted import ADVICE, REASONS, Note, record
from tidegate.stream import Rejected, RejectedLog
from tidegate.telemetry import logs, metrics

log = logs.get(__name__)

QUEUE_MAX = 500
"""Records waiting for Redis, of some 700 bytes each; as many may be on their way."""
FLUSH_SECONDS = 0.2
AWAY_SECONDS_MAX = 5.0
"""The longest wait between two tries while Redis takes no records."""
KIND_BURST = 20
KIND_SECONDS = 200.0
"""Of one kind so many records at once, and then one in ten seconds: at that rate one kind needs hours to push out the others
from the 2,000 that are kept, and what is not recorded is counted."""
DIAGNOSES_BURST = 10
DIAGNOSES_SECONDS = 5.0
"""So many at once, and then two a second: each holds a body until it is made, and takes milliseconds."""


@dataclass(slots=True)
class _Waiting:
    """A record on its way to Redis. ``evidence`` is what to find a failed signature's fault in."""

    record: Rejected
    evidence: Note | None


@dataclass(slots=True)
class _Kind:
    """The refusals of one source for one reason. ``latest`` is the newest of the ``suppressed``."""

    limiter: AsyncLimiter = field(default_factory=lambda: AsyncLimiter(KIND_BURST, KIND_SECONDS))
    waiting: deque[_Waiting] = field(default_factory=deque)
    suppressed: int = 0
    latest: Note | None = None


class Rejects:
    """The record of refused requests of one gate process; it keeps about ``maxlen`` of all of them. 0: none.

    ``adapters`` are those of the configured sources: a signature may be good with another one's secret, and no secret of
    any may stand in a record.
    """

    def __init__(self, log: RejectedLog, *, maxlen: int, adapters: Mapping[str, Adapter] | None = None) -> None:
        self._log = log
        self._maxlen = maxlen
        self._adapters = adapters or {}
        # Both labels are of closed sets, so this has an end, whatever clients ask for.
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._queued = 0
        self._diagnoses = AsyncLimiter(DIAGNOSES_BURST, DIAGNOSES_SECONDS)
        self._flushing = asyncio.Lock()
        self._away_since: float | None = None
        self._failed_once = False

    @property
    def away(self) -> bool:
        """Whether Redis takes no records now."""
        return self._away_since is not None

    def note(
        self,
        *,
        source: str,
        status: int,
        reason: str,
        detail: str = "",
        adapter: Adapter | None = None,
        request: Request | None = None,
        body_bytes: int = 0,
        clock_seconds: float | None = None,
        address: str = "",
        request_id: str = "",
        content_type: str = "",
        user_agent: str = "",
        now_seconds: float,
    ) -> None:
        """Take down that a request was refused. Called on the event loop; never waits, never raises.

        ``source`` is what the client asked for. ``reason`` is one of REASONS, others count as `other`; ``detail`` is a sentence
        for the operator that quotes nothing of the client's (RefusedError's is one), where it is empty there is one a reason.
        ``request`` is held until its signature was looked into, if at all.
        """
        label, reason = metrics.source_label(source), reason if reason in REASONS else "other"
        metrics.REJECTED.labels(label, reason).inc()
        if not self._maxlen:
            return
        try:
            kind = self._kinds.get((label, reason)) or self._kinds.setdefault((label, reason), _Kind())
            noted = Note(
                at_seconds=now_seconds,
                source=source,
                status=status,
                reason=reason,
                detail=detail or ADVICE.get(reason, ""),
                adapter=adapter,
                request=request,
                scheme=adapter.scheme(request) if adapter and request else "",
                body_bytes=body_bytes or (len(request.body) if request else 0),
                clock_seconds=clock_seconds,
                address=address,
                request_id=request_id,
                content_type=content_type,
                user_agent=user_agent,
            )
            if clock_seconds is None and adapter and request:
                noted.clock_seconds = adapter.clock_difference(request, now_seconds)
            if _admits(kind.limiter):
                self._admit(kind, noted)
            else:
                kind.suppressed += 1
                kind.latest = noted
                noted.request = replace(request, body=b"") if request else None
        except Exception:
            if not self._failed_once:
                self._failed_once = True
                log.exception("a refused request was not recorded for a reason of ours; said once")

    def _admit(self, kind: _Kind, noted: Note) -> None:
        noted.suppressed, kind.suppressed, kind.latest = kind.suppressed, 0, None
        waiting = _Waiting(record(noted, self._adapters), noted if self._is_evidence(noted) else None)
        kind.waiting.append(waiting)
        self._queued += 1
        self._make_room()

    def _make_room(self) -> None:
        while self._queued > QUEUE_MAX:
            # The longest row gives, so that the rare ones stay; the newest are what is being looked for.
            longest = max(self._kinds.values(), key=lambda one: len(one.waiting))
            longest.suppressed += 1 + longest.waiting.popleft().record.suppressed
            self._queued -= 1

    def _is_evidence(self, noted: Note) -> bool:
        return (
            noted.reason in diagnosis.EXPLAINED
            and noted.adapter is not None
            and noted.request is not None
            and 0 < len(noted.request.body) <= diagnosis.BODY_BYTES_MAX
            and _admits(self._diagnoses)
        )

    async def run(self) -> None:
        """Write what was noted, five times a second, until cancelled. While Redis takes nothing the newest wait."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            async for attempt in AsyncRetrying(
                wait=wait_random_exponential(multiplier=FLUSH_SECONDS, max=AWAY_SECONDS_MAX), before_sleep=self._failed
            ):
                with attempt:
                    await self._flush()
            if self._away_since is not None:
                away = time.monotonic() - self._away_since
                self._away_since = None
                log.info("refused requests are recorded again", after_seconds=round(away, 1))

    def _failed(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        metrics.REDIS_ERRORS.labels(metrics.redis_error_kind(error or OSError())).inc()
        if self._away_since is None:
            self._away_since = time.monotonic()
            log.warning("refused requests are not recorded now; the newest wait", error=str(error)[:300])

    async def flush(self) -> None:
        """Write what was noted once, whether Redis takes it or not: before a process ends."""
        try:
            await self._flush()
        except Exception as error:
            log.warning("refused requests were not recorded", error=str(error)[:300], records=self._queued)

    async def _flush(self) -> None:
        """Write all that waits in one call; what fails waits on. Sent again after a lost answer, a record is there twice."""
        async with self._flushing:
            for kind in self._kinds.values():
                # After a flood nothing like it may come for days: the newest of it tells how much there was.
                if kind.latest is not None and _admits(kind.limiter):
                    kind.suppressed -= 1
                    self._admit(kind, kind.latest)
            batch = [(kind, waiting) for kind in self._kinds.values() for waiting in kind.waiting]
            if not batch:
                return
            for kind in self._kinds.values():
                kind.waiting.clear()
            self._queued = 0
            try:
                for _, waiting in batch:
                    if waiting.evidence is not None:
                        await self._explain(waiting, waiting.evidence)
                records = sorted((waiting.record for _, waiting in batch), key=lambda one: one.at_ms)
                await self._log.add(records, self._maxlen)
            except BaseException:
                for kind, waiting in reversed(batch):
                    kind.waiting.appendleft(waiting)
                self._queued += len(batch)
                self._make_room()
                raise

    async def _explain(self, waiting: _Waiting, noted: Note) -> None:
        waiting.evidence = None
        if noted.adapter is None or noted.request is None:
            return
        try:
            found = await asyncio.to_thread(
                diagnosis.difference, noted.adapter, noted.request, noted.at_seconds, others=self._adapters
            )
        except Exception as error:
            log.warning("why a signature failed was not found for a reason of ours", error=type(error).__name__)
            return
        if found:
            noted.detail = found
            waiting.record = replace(record(noted, self._adapters), id=waiting.record.id)


def _admits(limiter: AsyncLimiter) -> bool:
    """Take one from ``limiter`` where it has one, without waiting."""
    if not limiter.has_capacity():
        return False
    try:
        limiter.acquire().send(None)  # a coroutine, which ends at once: there is room
    except StopIteration:
        return True
    raise AssertionError("a limiter with room does not wait")
