"""Which secret verified, noted in passing and written to Redis in the background: what a rotation is judged by.

A request pays for a count and a time in memory. All else is `Evidence.run`'s: the metric, Redis, and telling it once a
minute which secrets this gate has, so that one without a request is known to be without one, and since when.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from redis.exceptions import RedisError
from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

from tidegate.stream import UNAVAILABLE, SecretUses, Used
from tidegate.telemetry import logs, metrics

log = logs.get(__name__)

FLUSH_SECONDS = 1.0
AWAY_SECONDS_MAX = 5.0
"""The longest wait between two tries while Redis takes nothing."""
OWN_AGENT = "tidegate/"
"""How the User-Agent begins of what `tidegate send` and `tidegate sources test` post. They sign with the first secret, so a
test an hour would look as though the provider had changed over to it, and the one that it still signs with could go."""
HELD_SECONDS = 60.0
"""How often a gate says which secrets it has."""
FORGET_SECONDS = 86_400.0
FORGET_AFTER_MS = 90 * 86_400_000
"""What no gate has had for so long is dropped: nobody asks any more when it verified last."""


class Secret:
    """One secret of a source, by its label and mark, and what it has verified since that was written down last.

    The times are of what we did not send ourselves.
    """

    __slots__ = ("count", "first_seconds", "label", "last_seconds", "mark", "own", "source")

    def __init__(self, source: str, label: str, mark: str) -> None:
        self.source = source
        self.label = label
        self.mark = mark
        self.count = 0
        self.own = 0
        self.first_seconds = 0.0
        self.last_seconds = 0.0

    def verified(self, now_seconds: float, user_agent: str = "") -> None:
        """Note that a request verified with it at ``now_seconds``. On the path of every request: it only counts."""
        if user_agent.startswith(OWN_AGENT):
            self.own += 1
        else:
            if self.count == self.own:
                self.first_seconds = now_seconds
            self.last_seconds = now_seconds
        self.count += 1

    def taken(self) -> Used:
        """Return what was noted, and begin anew."""
        found = Used(
            self.source,
            self.mark,
            self.label,
            self.count,
            round(self.first_seconds * 1000),
            round(self.last_seconds * 1000),
            self.own,
        )
        self.count = self.own = 0
        return found


class Evidence:
    """Writes down for one gate process which of ``secrets`` verified. ``clock`` tells Unix seconds.

    What could not be written waits in one record a secret, however long Redis is away.
    """

    def __init__(self, uses: SecretUses, secrets: Sequence[Secret], clock: Callable[[], float] = time.time) -> None:
        self._uses = uses
        self._secrets = secrets
        self._clock = clock
        self._waiting: dict[tuple[str, str], Used] = {}
        self._held_at = float("-inf")
        self._forgot_at = float("-inf")
        self._is_refused = False
        self._flushing = asyncio.Lock()
        for secret in secrets:  # one that never verified is to be seen as 0
            metrics.SECRET_USES.labels(secret.source, secret.label)

    async def run(self) -> None:
        """Write what was noted every second, until cancelled. While Redis takes nothing it waits."""
        while True:
            async for attempt in AsyncRetrying(
                wait=wait_random_exponential(multiplier=FLUSH_SECONDS, max=AWAY_SECONDS_MAX), before_sleep=self._failed
            ):
                with attempt:
                    await self._flush()
                    await self._forget()
            self._is_refused = False
            await asyncio.sleep(FLUSH_SECONDS)

    def _failed(self, state: RetryCallState) -> None:
        """A Redis that is away is said by the fuse; one that refuses this and nothing else would go unnoticed."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, UNAVAILABLE):
            metrics.REDIS_ERRORS.labels(metrics.redis_error_kind(error)).inc()
        elif not self._is_refused:
            self._is_refused = True
            log.warning(
                "which secrets verify is not written down now",
                error=str(error)[:300],
                error_type=type(error).__name__,
            )

    async def flush(self) -> None:
        """Write what was noted once, whether Redis takes it or not: before a process ends."""
        try:
            await self._flush()
        except (*UNAVAILABLE, RedisError) as error:
            log.warning("which secrets verified last was not written down", error=str(error)[:300])

    async def _flush(self) -> None:
        async with self._flushing:
            self._collect()
            now = time.monotonic()
            is_due = now - self._held_at >= HELD_SECONDS
            told = self._held() | self._waiting if is_due else self._waiting
            await self._uses.tell(list(told.values()), round(self._clock() * 1000))
            self._waiting.clear()
            if is_due:
                self._held_at = now

    def _held(self) -> dict[tuple[str, str], Used]:
        return {
            (secret.source, secret.mark): Used(secret.source, secret.mark, secret.label) for secret in self._secrets
        }

    def _collect(self) -> None:
        for secret in self._secrets:
            if secret.count:
                new = secret.taken()
                metrics.SECRET_USES.labels(new.source, new.label).inc(new.count)
                old = self._waiting.get((new.source, new.mark))
                if old is not None:
                    first_ms = old.first_ms if old.count > old.own else new.first_ms
                    last_ms = new.last_ms if new.count > new.own else old.last_ms
                    new = replace(
                        new, count=old.count + new.count, own=old.own + new.own, first_ms=first_ms, last_ms=last_ms
                    )
                self._waiting[new.source, new.mark] = new

    async def _forget(self) -> None:
        now = time.monotonic()
        if now - self._forgot_at >= FORGET_SECONDS:
            await self._uses.forget(round(self._clock() * 1000) - FORGET_AFTER_MS)
            self._forgot_at = now
