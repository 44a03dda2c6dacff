"""When the gate turns providers away, and when it tells them to come back."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.admission import STALE_SECONDS, Admission, Bounds, Look
from tidegate.settings import IngestSettings

BOUNDS = Bounds(
    backlog_max=1000,
    memory_share_max=0.9,
    memory_bytes_max=0,
    oldest_seconds_max=60.0,
    retry_after_seconds=5,
    retry_after_seconds_max=300,
)


def look(at: float = 0.0, **changed: Any) -> Look:
    values = {"backlog": 0, "oldest_seconds": 0.0, "memory_bytes": 0, "memory_bytes_max": 1000, "settled": 0}
    return Look(at_seconds=at, **(values | changed))


def test_there_is_room_before_anybody_looked_and_while_nothing_is_at_its_limit() -> None:
    admission = Admission(BOUNDS)
    assert not admission.is_closed(0)
    admission.saw(look(backlog=999, memory_bytes=899, oldest_seconds=59))
    assert not admission.is_closed(0.5)


@pytest.mark.parametrize(
    ("at_limit", "limit", "still", "below"),
    [
        ({"backlog": 1000}, "backlog", {"backlog": 900}, {"backlog": 899}),
        ({"memory_bytes": 900}, "memory", {"memory_bytes": 810}, {"memory_bytes": 809}),
        ({"oldest_seconds": 60.0}, "oldest", {"oldest_seconds": 54.0}, {"oldest_seconds": 53.9}),
    ],
)
def test_each_limit_closes_and_opens_again_only_well_below_it(
    at_limit: dict[str, Any], limit: str, still: dict[str, Any], below: dict[str, Any]
) -> None:
    admission = Admission(BOUNDS)
    admission.saw(look(0, **at_limit))
    assert (admission.is_closed(0.5), admission.why) == (True, limit)
    admission.saw(look(1, **still))
    assert admission.is_closed(1.5)
    admission.saw(look(2, **below))
    assert not admission.is_closed(2.5)
    admission.saw(look(3, **still))
    assert not admission.is_closed(3.5), "what was open stays open up to the limit itself"


def test_limits_of_zero_and_a_redis_without_maxmemory_are_no_limits() -> None:
    bounds = Bounds.of(IngestSettings(), backlog_max=0)
    admission = Admission(bounds)
    admission.saw(look(backlog=10**9, oldest_seconds=10**6, memory_bytes=10**12, memory_bytes_max=0))
    assert not admission.is_closed(0.5)


def test_a_limit_in_bytes_holds_where_redis_has_none_and_the_lower_of_two_counts() -> None:
    bounds = Bounds.of(IngestSettings(memory_bytes_max=500), backlog_max=0)
    for maximum in (0, 1000):
        admission = Admission(bounds)
        admission.saw(look(memory_bytes=500, memory_bytes_max=maximum))
        assert admission.is_closed(0.5)


def test_what_an_append_found_full_holds_until_the_next_look() -> None:
    admission = Admission(BOUNDS)
    admission.full(10.0, 1000)
    assert admission.is_closed(10.5)
    assert not admission.is_closed(11.5), "nobody looks: the next append finds out"
    admission.saw(look(20, backlog=950))
    assert admission.is_closed(20.5)


def test_a_look_that_is_long_past_closes_nothing() -> None:
    """Redis is away then, and the inbox takes what comes."""
    admission = Admission(BOUNDS)
    admission.saw(look(0, backlog=1000))
    assert admission.is_closed(STALE_SECONDS - 0.1)
    assert not admission.is_closed(STALE_SECONDS)


LATER = 59.5
"""Half a second after the last look of `settling`."""


def settling(admission: Admission, *, rate: int, backlog: int, seconds: int = 60) -> None:
    for second in range(seconds):
        admission.saw(look(second, backlog=backlog, settled=rate * second))


@pytest.mark.parametrize(("rate", "seconds"), [(1000, 5), (10, 10), (2, 50), (1, 100)])
def test_retry_after_is_when_there_will_be_room_at_the_rate_of_late(rate: int, seconds: int) -> None:
    lowest, highest = (Admission(BOUNDS, chance=lambda value=value: value) for value in (0.0, 1.0))  # type: ignore[misc]
    for admission, expected in ((lowest, seconds), (highest, seconds * 1.5)):
        settling(admission, rate=rate, backlog=1000)
        assert admission.retry_after_seconds(LATER) == pytest.approx(expected, abs=1)


def test_with_no_worker_at_all_it_is_the_most_and_yet_spread() -> None:
    answers = set()
    for n in range(11):
        admission = Admission(BOUNDS, chance=lambda n=n: n / 10)  # type: ignore[misc]
        settling(admission, rate=0, backlog=1000)
        answers.add(admission.retry_after_seconds(LATER))
    assert min(answers) == 200
    assert max(answers) == 300
    assert len(answers) == 11


def test_those_turned_away_together_do_not_come_back_together() -> None:
    admission = Admission(BOUNDS)
    settling(admission, rate=1, backlog=1000)
    assert len({admission.retry_after_seconds(LATER) for _ in range(200)}) > 20


def test_a_ledger_that_began_anew_is_no_negative_rate() -> None:
    admission = Admission(BOUNDS)
    admission.saw(look(0, settled=10**6))
    admission.saw(look(1, settled=0, backlog=1000))
    assert admission.drained_per_second == 0
    assert 200 <= admission.retry_after_seconds(1.5) <= 300


def test_once_looks_are_long_past_retry_after_is_the_least_again() -> None:
    """Redis is away: what was known of its backlog says nothing of when it will be back."""
    admission = Admission(BOUNDS)
    settling(admission, rate=0, backlog=1000)
    assert admission.retry_after_seconds(LATER) >= 200
    assert 5 <= admission.retry_after_seconds(LATER + STALE_SECONDS) <= 8
