"""A server that does not answer, as one worker sees it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tidegate.errors import UnreachableError
from tidegate.telemetry import logs

log = logs.get(__name__)


@dataclass(slots=True)
class Outage:
    """A server that does not answer: said once when it begins, once when it ends."""

    name: str
    limit_seconds: float
    since: float | None = None

    def begin(self, error: BaseException) -> None:
        """Note a failure; raise UnreachableError once it has lasted longer than the limit."""
        now = time.monotonic()
        if self.since is None:
            self.since = now
            log.warning(f"{self.name} does not answer; waiting", error=str(error).strip()[:300])
        elif now - self.since > self.limit_seconds:
            raise UnreachableError(f"{self.name} has not answered for {self.limit_seconds:.0f} s: {error}") from error

    def end(self) -> None:
        """Note a success."""
        if self.since is not None:
            log.info(f"{self.name} answers again", seconds=round(time.monotonic() - self.since, 1))
            self.since = None
