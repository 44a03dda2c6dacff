"""How an attempt ended, and what follows. Pure: values in, values out, no clock and no I/O."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from consumer.handling import HandlerError
from tidegate import jsontext
from tidegate.event import Attempt, Delivery
from tidegate.handlers import Reject, Retry
from tidegate.postgres.sqlstate import Kind, classify
from tidegate.telemetry import redaction

HISTORY_MAX = 50
ERROR_CHARS_MAX = 500
"""An attempt's error travels with the entry: it is a hint for a person, the log has the traceback."""


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
    """When to try again: ``delays_ms[n]`` before attempt n + 2, plus up to ``jitter_ms``."""

    delays_ms: Sequence[int]
    jitter_ms: int

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
    still missed its parent), ``exhausted`` (any other last attempt).
    """
    text = describe(error)
    if isinstance(error, Reject):
        return _dead(delivery, "rejected", text, now_ms)
    if not isinstance(error, Retry) and classify(error) is Kind.PERMANENT:
        return _dead(delivery, "invalid", text, now_ms)
    waiting_for = error.waiting_for if isinstance(error, Retry) else None
    delay_ms = schedule.delay_ms(delivery.event.attempt, random)
    if delay_ms is None:
        return _dead(delivery, "orphaned" if waiting_for else "exhausted", text, now_ms)
    if isinstance(error, Retry) and error.after is not None:
        delay_ms = int(error.after * 1000)
    reason = "waiting" if waiting_for else "asked" if isinstance(error, Retry) else "error"
    past = _after(delivery, reason, text, now_ms)
    event = replace(past.event, attempt=past.event.attempt + 1)
    return Decided(Outcome.RETRY, replace(past, event=event), reason, text, delay_ms, waiting_for)


def malformed(delivery: Delivery, now_ms: int) -> Decided:
    """Return ``dead`` for what the gate could not read an event out of."""
    return _dead(delivery, "malformed", delivery.malformed or "", now_ms)


def describe(error: BaseException) -> str:
    """Return one line for a person: type and text, storable, without secrets, at most 500 characters."""
    text = " ".join(str(error)[: 4 * ERROR_CHARS_MAX].split())
    if not isinstance(error, Retry | Reject | HandlerError):
        text = f"{type(error).__name__}: {text}"
    state = getattr(error, "sqlstate", None)
    if state:
        text = f"{text} (SQLSTATE {state})"
    return jsontext.storable(redaction.text(text))[:ERROR_CHARS_MAX]


def _dead(delivery: Delivery, reason: str, error: str, now_ms: int) -> Decided:
    return Decided(Outcome.DEAD, _after(delivery, reason, error, now_ms), reason, error)


def _after(delivery: Delivery, reason: str, error: str, now_ms: int) -> Delivery:
    return replace(delivery, history=(*delivery.history, Attempt(now_ms, reason, error))[-HISTORY_MAX:])
