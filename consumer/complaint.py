"""Something that fails again and again, and is said once."""

from __future__ import annotations

from tidegate.telemetry import logs

log = logs.get(__name__)


class Complaint:
    """Said when it begins, and again when its reason changes; not at every turn."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._why: str | None = None

    def say(self, error: BaseException) -> None:
        """Note a failure."""
        why = str(error).strip().partition("\n")[0][:300]  # what follows quotes the statement
        if why != self._why:
            log.error(self._what, error=why)
            self._why = why

    def end(self) -> None:
        """Note a success: the next failure is news."""
        self._why = None
