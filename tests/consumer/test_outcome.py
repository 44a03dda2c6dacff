"""When a failed delivery is tried again, and when it is dead. Pure decisions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg import errors

from consumer.outcome import ERROR_CHARS_MAX, HISTORY_MAX, Outcome, Schedule, failed
from tests.fixtures import event
from tidegate import Reject, Retry
from tidegate.event import Attempt, Delivery

SCHEDULE = Schedule([5_000, 15_000, 60_000], 1_000)


def decide(error: Exception, attempt: int = 1, delivery: Delivery | None = None) -> tuple[Outcome, str, int]:
    delivery = delivery or Delivery(event(attempt=attempt))
    decided = failed(delivery, error, SCHEDULE, now_ms=123, random=lambda: 0.5)
    return decided.outcome, decided.reason, decided.delay_ms


@pytest.mark.parametrize(
    ("error", "attempt", "expected"),
    [
        (ValueError(), 1, (Outcome.RETRY, "error", 5_500)),
        (ValueError(), 3, (Outcome.RETRY, "error", 60_500)),
        (ValueError(), 4, (Outcome.DEAD, "exhausted", 0)),
        (Retry(), 2, (Outcome.RETRY, "asked", 15_500)),
        (Retry(after=90), 2, (Outcome.RETRY, "asked", 90_000)),
        (Retry(after=90), 4, (Outcome.DEAD, "exhausted", 0)),
        (Retry(waiting_for="p:1"), 1, (Outcome.RETRY, "waiting", 5_500)),
        (Retry(waiting_for="p:1"), 4, (Outcome.DEAD, "orphaned", 0)),
        (Reject("no"), 1, (Outcome.DEAD, "rejected", 0)),
        (errors.UniqueViolation("x"), 1, (Outcome.DEAD, "invalid", 0)),
    ],
)
def test_what_follows(error: Exception, attempt: int, expected: tuple[Outcome, str, int]) -> None:
    assert decide(error, attempt) == expected


def test_a_retry_carries_its_history_and_the_next_attempt() -> None:
    decided = failed(Delivery(event()), ValueError("boom"), SCHEDULE, now_ms=123, random=lambda: 0)
    assert decided.delivery.event.attempt == 2
    assert decided.delivery.history == (Attempt(123, "error", "ValueError: boom"),)


def test_history_and_errors_have_an_end() -> None:
    long = Delivery(event(), history=tuple(Attempt(n, "error", "x") for n in range(HISTORY_MAX)))
    decided = failed(long, ValueError("y" * 10_000), SCHEDULE, now_ms=1, random=lambda: 0)
    assert len(decided.delivery.history) == HISTORY_MAX
    assert len(decided.error) == ERROR_CHARS_MAX
    assert decided.delivery.history[-1].error == decided.error


def test_an_error_text_can_be_stored_whatever_is_in_it() -> None:
    decided = failed(Delivery(event()), ValueError("nul \x00 surrogate \ud800"), SCHEDULE, now_ms=1, random=lambda: 0)
    assert decided.error == "ValueError: nul \ufffd surrogate \ufffd"


def test_no_schedule_means_one_attempt() -> None:
    decided = failed(Delivery(event()), ValueError(), replace(SCHEDULE, delays_ms=[]), now_ms=1, random=lambda: 0)
    assert decided.outcome is Outcome.DEAD


@pytest.mark.parametrize("after", [-1, float("nan"), float("inf"), 10**9])
def test_an_impossible_wait_is_refused_where_it_is_written(after: float) -> None:
    with pytest.raises(ValueError, match="Retry"):
        Retry(after=after)
