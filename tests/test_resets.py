"""What is told of a Redis that lost its data, and how the audit goes on from there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.test_ledger import state
from tidegate.ledger import Stored, judge
from tidegate.resets import Epoch, past, resets
from tidegate.stream import ShardState

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def life(name: str, begin: float, end: float, *, shard: int = 0, found: float | None = None, **seen: int) -> Epoch:
    return Epoch(shard, name, at(begin), at(begin if found is None else found), at(end), seen)


def named(epoch: str | None, **counts: int) -> ShardState:
    made = state(**counts)
    return ShardState(0, made.ledger, made.events, made.retry, made.pending, made.due, None, None, epoch)


def test_one_life_or_none_is_no_loss() -> None:
    """A new deployment, one older than epochs, and one to which shards were added."""
    assert resets([], {0: None}) == []
    assert resets([], {0: "a"}) == []
    assert resets([life("a", 0, 1)], {0: "a"}) == []
    assert resets([life("a", 0, 1)], {0: "a", 1: "b"}) == []


def test_a_second_life_is_a_loss_of_what_waited() -> None:
    (found,) = resets([life("b", 10, 20), life("a", 0, 9, accepted=100, events=7, retry=5)], {0: "b"})
    assert (found.at, found.last_at, found.shards) == (at(10), at(9), (0,))
    assert (found.accepted, found.waiting, found.retrying) == (100, 12, 5)
    assert found.sentence == (
        "Redis was emptied on 2026-01-01T12:10:00Z; the ledger counts since then. "
        "At the last look before, 2026-01-01T12:09:00Z, "
        "12 deliveries were waiting: those, and what came after, are lost unless they had been applied by then. "
        "Letters on their way back stay `replaying`: `tidegate dlq replay --status replaying` sends them again."
    )


@pytest.mark.parametrize("now", [None, "b"])
def test_it_is_a_loss_before_any_worker_has_noticed(now: str | None) -> None:
    (found,) = resets([life("a", 0, 9, events=1)], {0: now})
    assert (found.at, found.waiting) == (None, 1)
    assert "since 2026-01-01T12:09:00Z, and no worker has noticed yet" in found.sentence
    assert "1 delivery was waiting" in found.sentence


def test_all_shards_that_were_emptied_together_are_one_loss() -> None:
    lives = [
        *(life("a", 0, 9, shard=shard, events=shard) for shard in range(3)),
        *(life("b", 10 + shard / 100, 20, shard=shard, found=11) for shard in range(3)),
        life("c", 30, 40, shard=1, events=9),
    ]
    first, second = resets(lives, {0: "b", 1: "c", 2: "b"})
    assert (first.shards, first.waiting, first.at) == ((0, 1, 2), 3, at(10))
    assert (second.shards, second.waiting, second.last_at) == ((1,), 0, at(20))
    assert "0 deliveries were waiting" in second.sentence


def test_what_earlier_lives_counted_is_known_from_their_last_look() -> None:
    lives = [life("a", 0, 9, applied=5), life("b", 10, 20, applied=3), life("c", 30, 40, shard=7, applied=99)]
    assert past(lives, [named("b")])["applied"] == 5
    assert past(lives, [named("a")], [named("b")])["applied"] == 0, "emptied between two looks: each has its own ledger"
    assert past(lives, [named(None)])["applied"] == 8


def test_after_a_loss_postgres_may_hold_more_but_never_less() -> None:
    lives = (life("a", 0, 9, accepted=12, applied=9, dead=1, events=2), life("b", 10, 20))
    now = [named("b", accepted=3, applied=3)]

    def judged(events: int, deaths: int) -> int:
        return judge(now, Stored(events, deaths, {}, epochs=lives), now).unaccounted

    assert judged(12, 1) == 0
    assert judged(13, 2) == 0, "applied after the last look, and before the data was gone"
    assert judged(11, 1) == 1
    assert judged(12, 0) == 1


def test_what_came_since_is_still_counted_exactly() -> None:
    lives = (life("a", 0, 9, applied=9), life("b", 10, 20))
    now = [named("b", accepted=4, applied=3)]
    assert judge(now, Stored(12, 0, {}, epochs=lives), now).balance.unaccounted == 1


def test_data_lost_in_the_middle_of_an_audit_is_no_alarm() -> None:
    before, after = [named("a", accepted=10, applied=10)], [named(None, accepted=1, events=1)]
    lives = (life("a", 0, 9, applied=9),)
    assert judge(before, Stored(10, 0, {}, epochs=lives), after).unaccounted == 0
    named_since = (*lives, life("b", 10, 11, applied=2))
    after = [named("b", accepted=3, applied=3)]
    assert judge(before, Stored(12, 0, {}, epochs=named_since), after).unaccounted == 0
    # Nameless before, named after: the same life.
    before = [named(None, accepted=3, applied=3)]
    assert judge(before, Stored(12, 0, {}, epochs=named_since), after).unaccounted == 0
