"""Overload in short: ten times what may be taken is offered by clients good and bad, and Redis is away half of the time.

`make chaos CHAOS=--overload` is the long way.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.overload import Options, Overload, phases
from tidegate.embedded import PostgresServer, RedisServer

SHORT = Options(
    minutes=0.5,
    seed=3,
    clients=300,
    backlog_max=200,
    inbox_rows_max=100,
    phase_seconds=(7.0, 8.0),  # longer than what was last seen of a full backlog counts
    livez_seconds_max=15.0,  # it must answer; how soon depends on what else the machine does
)


@pytest.mark.process
async def test_a_gate_stays_small_honest_and_alive_under_ten_times_what_it_may_take(
    tmp_path: Path, own_redis: Callable[..., RedisServer], own_postgres: Callable[..., PostgresServer]
) -> None:
    folder = tmp_path / "overload"
    folder.mkdir()
    result = await Overload(SHORT, folder, own_redis(), own_postgres(durable=True), print).run()
    assert not result.problems, "\n".join([f"seed {SHORT.seed}, logs in {tmp_path}:", *result.problems])


def test_redis_is_away_half_of_the_time() -> None:
    seconds: dict[bool, float] = {True: 0.0, False: 0.0}
    for what, lasts in phases(Options(minutes=10, seed=1)):
        seconds[what == "Redis well"] += lasts
    assert 0.4 < seconds[False] / sum(seconds.values()) < 0.6
