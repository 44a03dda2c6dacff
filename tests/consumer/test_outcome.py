"""When a failed delivery is tried again, and when it is dead. Pure decisions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg import errors

from consumer.outcome import ERROR_CHARS_MAX, HISTORY_FIRST, HISTORY_MAX, Outcome, Schedule, failed
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
    assert [past.at_ms for past in decided.delivery.history] == [
        *range(HISTORY_FIRST),
        *range(HISTORY_FIRST + 1, 50),
        1,
    ]
    assert len(decided.error) == ERROR_CHARS_MAX
    assert decided.delivery.history[-1].error == decided.error


AGED = replace(SCHEDULE, max_age_ms=60_000)


@pytest.mark.parametrize(
    ("error", "age_ms", "expected"),
    [
        (ValueError(), 55_000, (Outcome.RETRY, "error")),
        (ValueError(), 55_001, (Outcome.DEAD, "expired")),
        (Retry(after=60), 0, (Outcome.RETRY, "asked")),
        (Retry(after=60), 1, (Outcome.DEAD, "expired")),
        (Retry(waiting_for="p:1"), 55_001, (Outcome.DEAD, "orphaned")),
        (Reject("no"), 55_001, (Outcome.DEAD, "rejected")),
    ],
)
def test_nothing_is_tried_again_when_it_would_be_too_old_by_then(
    error: Exception, age_ms: int, expected: tuple[Outcome, str]
) -> None:
    delivery = Delivery(event(received_at_ms=1_000_000))
    decided = failed(delivery, error, AGED, now_ms=1_000_000 + age_ms, random=lambda: 0)
    assert (decided.outcome, decided.reason) == expected


def replayed(attempt: int, *at_ms: int) -> Delivery:
    return Delivery(
        event(received_at_ms=0, attempt=attempt), tuple(Attempt(at, "error", "x") for at in at_ms), replay=1
    )


@pytest.mark.parametrize(
    ("delivery", "now_ms", "reason"),
    [
        (replayed(1, 10, 20), 10**9, "error"),
        (replayed(1), 10**9, "error"),
        (replayed(2, 10, 20, 10**9), 10**9 + 45_000, "error"),
        (replayed(2, 10, 20, 10**9), 10**9 + 45_001, "expired"),
        (replayed(3, 10, 10**9, 10**9 + 5), 10**9 + 1, "expired"),
        # So many failures that the first one since the replay is no longer among those kept.
        (replayed(46, *range(10), *[10**9] * 40), 10**9 + 55_000, "error"),
    ],
)
def test_a_replayed_letter_has_its_whole_schedule_again(delivery: Delivery, now_ms: int, reason: str) -> None:
    schedule = replace(AGED, delays_ms=[5_000, 15_000, 60_000, *[5_000] * 47])
    assert failed(delivery, ValueError(), schedule, now_ms=now_ms, random=lambda: 0).reason == reason


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Retry(waiting_for="enrollment:42"), "waiting for enrollment:42"),
        (Retry("not yet", waiting_for="enrollment:42"), "not yet (waiting for enrollment:42)"),
        (Retry("no enrollment:42, yet", waiting_for="enrollment:42"), "no enrollment:42, yet"),
        (Retry("no enrollment:421", waiting_for="enrollment:42"), "no enrollment:421 (waiting for enrollment:42)"),
        (Retry("y" * 10_000, waiting_for="p:1"), "y" * (ERROR_CHARS_MAX - 18) + " (waiting for p:1)"),
        (Retry("y" * 10_000, waiting_for="p" * 10_000), "y" * 300 + " (waiting for " + "p" * 186),
        (Retry("asked", waiting_for="a@b.example\x00"), "asked (waiting for ***@b.example\ufffd)"),
    ],
)
def test_an_orphan_names_its_parent_whatever_else_the_handler_says(error: Exception, said: str) -> None:
    decided = failed(Delivery(event(attempt=4)), error, SCHEDULE, now_ms=1, random=lambda: 0)
    assert (decided.reason, decided.error) == ("orphaned", said)


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
