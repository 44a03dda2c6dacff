"""A server that is of no use, as one worker sees it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tidegate.errors import UnreachableError
from tidegate.telemetry import logs

log = logs.get(__name__)


@dataclass(slots=True)
class Outage:
    """Said once when it begins, once when it ends."""

    name: str
    limit_seconds: float
    since: float | None = None

    def begin(self, error: BaseException, what: str = "does not answer") -> None:
        """Note a failure; raise UnreachableError once it has lasted longer than the limit."""
        now = time.monotonic()
        line = str(error).strip().partition("\n")[0][:300]  # those that follow quote the statement, with people's data
        if self.since is None:
            self.since = now
            log.warning(f"{self.name} {what}; waiting, nothing is lost", error=line)
        elif now - self.since > self.limit_seconds:
            raise UnreachableError(f"{self.name} {what}, for {self.limit_seconds:.0f} s now: {line}") from error

    def end(self) -> None:
        """Note a success."""
        if self.since is not None:
            log.info(f"{self.name} is well again", seconds=round(time.monotonic() - self.since, 1))
            self.since = None
