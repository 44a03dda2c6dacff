"""How an attempt ended, and what follows. Pure: values in, values out, no clock and no I/O."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from consumer.handling import BlockedError, HandlerError
from tidegate import jsontext
from tidegate.event import Attempt, Delivery
from tidegate.handlers import Reject, Retry
from tidegate.postgres.sqlstate import Kind, classify
from tidegate.telemetry import redaction

HISTORY_MAX = 50
HISTORY_FIRST = 10
"""Of a history that is full the first ones stay, and the newest: how it began explains more than what was in the middle."""
BLOCKED_MS = 5000
"""Wait for somebody's lock where the schedule knows none."""
ERROR_CHARS_MAX = 500
"""An attempt's error travels with the entry: it is a hint for a person, the log has the traceback."""
_PARENT_CHARS_MAX = 200
PAUSED = "paused"
"""Reason of a retry that waits until its source is resumed; see `consumer.parking`."""


class Outcome(enum.StrEnum):
    """The closed set of ways a delivery leaves a worker. Values are the names in the ledger."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    RETRY = "retry"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Decided:
    """An outcome with what it needs. ``delivery`` is as it goes on: with the failed attempt in its history."""

    outcome: Outcome
    delivery: Delivery
    reason: str = ""
    error: str = ""
    delay_ms: int = 0
    waiting_for: str | None = None
    already: bool = False
    """The letter was written by an earlier transaction whose settle was lost."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to try again: ``delays_ms[n]`` before attempt n + 2, plus up to ``jitter_ms``.

    Nothing is tried again later than ``max_age_ms`` after it was received (or first failed after a replay); None: no limit.
    """

    delays_ms: Sequence[int]
    jitter_ms: int
    max_age_ms: int | None = None

    def delay_ms(self, attempt: int, random: Callable[[], float]) -> int | None:
        """Return the wait after failed attempt number ``attempt`` (from 1), None when it was the last."""
        if attempt > len(self.delays_ms):
            return None
        return int(self.delays_ms[attempt - 1] + random() * self.jitter_ms)

    @property
    def span_seconds(self) -> int:
        """The longest a delivery can be on the retry stream between its first failure and its death."""
        return (sum(self.delays_ms) + len(self.delays_ms) * self.jitter_ms) // 1000


def failed(
    delivery: Delivery, error: Exception, schedule: Schedule, *, now_ms: int, random: Callable[[], float]
) -> Decided:
    """Return what follows from ``error`` raised for ``delivery``: ``retry``, or ``dead`` with its reason.

    Reasons: ``rejected`` (the handler said so), ``invalid`` (Postgres will never take it), ``orphaned`` (the last attempt
    still missed its parent), ``exhausted`` (the schedule allows no other), ``expired`` (its maximum age allows no other).
    """
    text = describe(error)
    if isinstance(error, BlockedError):
        return Decided(Outcome.RETRY, delivery, "blocked", text, schedule.delay_ms(1, random) or BLOCKED_MS)
    if isinstance(error, Reject):
        return dead(delivery, "rejected", text, now_ms)
    if not isinstance(error, Retry) and classify(error) is Kind.PERMANENT:
        return dead(delivery, "invalid", text, now_ms)
    waiting_for = error.waiting_for if isinstance(error, Retry) else None
    delay_ms = schedule.delay_ms(delivery.event.attempt, random)
    if delay_ms is None:
        return dead(delivery, "orphaned" if waiting_for else "exhausted", text, now_ms)
    if isinstance(error, Retry) and error.after is not None:
        delay_ms = int(error.after * 1000)
    if schedule.max_age_ms is not None and now_ms + delay_ms - _born_ms(delivery, now_ms) > schedule.max_age_ms:
        return dead(delivery, "orphaned" if waiting_for else "expired", text, now_ms)
    reason = "waiting" if waiting_for else "asked" if isinstance(error, Retry) else "error"
    past = _after(delivery, reason, text, now_ms)
    event = replace(past.event, attempt=past.event.attempt + 1)
    return Decided(Outcome.RETRY, replace(past, event=event), reason, text, delay_ms, waiting_for)


def dead(delivery: Delivery, reason: str, error: str, now_ms: int) -> Decided:
    """Return ``dead`` with ``reason``, for what is not tried (again)."""
    return Decided(Outcome.DEAD, _after(delivery, reason, error, now_ms), reason, error)


def describe(error: BaseException) -> str:
    """Return one line for a person: type and text, storable, without secrets, at most 500 characters.

    It names the parent that is waited for, whatever else the handler had to say.
    """
    text = " ".join(str(error)[: 4 * ERROR_CHARS_MAX].split())
    if not isinstance(error, Retry | Reject | HandlerError):
        text = f"{type(error).__name__}: {text}"
    state = getattr(error, "sqlstate", None)
    if state:
        text = f"{text} (SQLSTATE {state})"
    parent = _parent(error, text)
    text, parent = (
        jsontext.storable(redaction.text(text)),
        jsontext.storable(redaction.text(parent))[:_PARENT_CHARS_MAX],
    )
    return text[: ERROR_CHARS_MAX - len(parent)] + parent


def _parent(error: BaseException, text: str) -> str:
    """Return what names the parent, unless ``text`` does."""
    if not isinstance(error, Retry) or error.waiting_for is None:
        return ""
    named = error.waiting_for in (word.strip(".,;:()[]'\"") for word in text.split())
    return "" if named or text == f"waiting for {error.waiting_for}" else f" (waiting for {error.waiting_for})"


def _born_ms(delivery: Delivery, now_ms: int) -> int:
    """Return from when the age of ``delivery`` counts. One replayed after a month gets its whole schedule again.

    While it had to wait for its source it grew no older.
    """
    if not delivery.replay:
        return delivery.event.received_at_ms + delivery.held_ms
    since = min(delivery.event.attempt - 1, HISTORY_MAX - HISTORY_FIRST)  # further back other entries are left out
    return delivery.history[-since:][0].at_ms + delivery.held_ms if since and delivery.history else now_ms


def _after(delivery: Delivery, reason: str, error: str, now_ms: int) -> Delivery:
    history = (*delivery.history, Attempt(now_ms, reason, error))
    if len(history) > HISTORY_MAX:
        history = history[:HISTORY_FIRST] + history[HISTORY_FIRST - HISTORY_MAX :]
    return replace(delivery, history=history)
