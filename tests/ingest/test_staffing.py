"""Too few processes for a moment, and requests wait; too many failures at once, and the machine is busy with starting."""

from __future__ import annotations

import pytest

from ingest.staffing import Member, pause_seconds, plan


def members(**counts: int) -> list[Member]:
    """``new2=3, old=1``: so many of edition 1 (new) or 0 (old); ``unready`` are new ones that do not serve yet."""
    return (
        [Member(edition=0, ready=True) for _ in range(counts.get("old", 0))]
        + [Member(edition=1, ready=True) for _ in range(counts.get("new", 0))]
        + [Member(edition=1) for _ in range(counts.get("unready", 0))]
    )


@pytest.mark.parametrize(
    ("staying", "proven", "start", "retire"),
    [
        ({}, False, 1, 0),
        ({"unready": 1}, False, 0, 0),
        ({"new": 1}, True, 2, 0),
        ({"new": 1, "unready": 1}, True, 1, 0),
        ({"new": 3}, True, 0, 0),
        ({"old": 3}, False, 1, 0),
        ({"old": 3, "unready": 1}, False, 0, 0),
        ({"old": 3, "new": 1}, True, 1, 1),
        ({"old": 2, "new": 1, "unready": 1}, True, 0, 0),
        ({"old": 2, "new": 2}, True, 1, 1),
        ({"old": 1, "new": 3}, True, 0, 1),
        ({"old": 2}, False, 1, 0),  # one of the old died meanwhile
        ({"old": 5, "new": 1}, True, 1, 3),  # three are wanted from now on
        ({"new": 4}, True, 0, 1),
    ],
)
def test_three_serve_at_any_time_and_one_at_a_time_is_replaced(
    staying: dict[str, int], proven: bool, start: int, retire: int
) -> None:
    all_of_them = members(**staying)
    todo = plan(all_of_them, edition=1, wanted=3, proven=proven)
    assert (todo.start, len(todo.retire)) == (start, retire)
    serving = [member for member in all_of_them if member.ready and member not in todo.retire]
    assert len(serving) >= min(3, sum(member.ready for member in all_of_them))
    former = sum(member.edition == 0 for member in all_of_them)
    assert all(member.edition == 0 for member in todo.retire[:former])


def test_a_process_that_dies_again_and_again_is_started_less_and_less_often() -> None:
    pauses = [pause_seconds(failures) for failures in range(10)]
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert (pauses[1], pauses[2], pauses[-1], pause_seconds(10_000)) == (0.5, 1.0, 30.0, 30.0)
