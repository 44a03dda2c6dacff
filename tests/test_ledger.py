"""`tidegate audit` sees what is missing and what is there twice, and nothing where work is merely under way."""

from __future__ import annotations

import pytest

from tidegate.ledger import Stored, judge, shard_balance
from tidegate.stream import ShardState


def state(*, events: int = 0, retry: int = 0, pending: int = 0, **counts: int) -> ShardState:
    ledger = {(name, "shop"): count for name, count in counts.items()}
    return ShardState(0, ledger, events, retry, pending, retry, None, None)


def test_both_sides_are_equal_when_everything_is_somewhere() -> None:
    balance = shard_balance(
        state(accepted=10, replayed=2, foreign=1, applied=5, duplicate=1, ignored=1, dead=2, events=3, retry=1)
    )
    assert (balance.came, balance.found, balance.unaccounted) == (13, 13, 0)


@pytest.mark.parametrize(("accepted", "unaccounted"), [(11, 1), (9, -1)])
def test_a_lost_or_doubled_delivery_shows(accepted: int, unaccounted: int) -> None:
    assert shard_balance(state(accepted=accepted, applied=10)).unaccounted == unaccounted


def test_when_quiet_postgres_must_hold_exactly_what_was_applied() -> None:
    quiet = state(accepted=10, applied=7, ignored=1, dead=2)
    assert judge([quiet], Stored(8, 2, {}), [quiet]).unaccounted == 0
    assert judge([quiet], Stored(7, 2, {}), [quiet]).missing_events == 1
    assert judge([quiet], Stored(9, 2, {}), [quiet]).missing_events == -1
    assert judge([quiet], Stored(8, 1, {}), [quiet]).missing_letters == 1
    assert judge([quiet], Stored(7, 3, {}), [quiet]).unaccounted == 2


def test_between_commit_and_settle_postgres_may_be_ahead_by_what_is_under_way() -> None:
    busy = state(accepted=11, applied=5, events=5, retry=1, pending=3)
    assert judge([busy], Stored(11, 0, {}), [busy]).unaccounted == 0
    assert judge([busy], Stored(12, 0, {}), [busy]).unaccounted == 1
    assert judge([busy], Stored(4, 0, {}), [busy]).unaccounted == 1


def test_what_settles_while_postgres_is_read_is_not_missing() -> None:
    before = state(accepted=10, applied=5, events=5, pending=5)
    after = state(accepted=10, applied=10)
    assert judge([before], Stored(7, 0, {}), [after]).unaccounted == 0
