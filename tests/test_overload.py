"""Ten times what a gate may take, while Redis is away half of the time: it stays small, answers, and keeps what it took.

In short; `make chaos CHAOS=overload` is the long way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.memory import GATE_BYTES_MAX, Memory
from tests.chaos.overload import Options, Overload, Result, phases
from tidegate.embedded import PostgresServer, RedisServer

SHORT = Options(
    minutes=16 / 60,
    seed=5,
    clients=120,
    backlog_max=60,
    inbox_rows_max=40,
    event_seconds=0.2,
    phase_seconds=(4.0, 4.0),
    livez_seconds_max=10.0,  # how quick it is says more of the machine; that it answers at all is asked for here
)


@pytest.mark.process
async def test_overload_with_redis_away_neither_grows_the_gate_nor_loses_what_it_took(
    tmp_path: Path, own_redis: Callable[..., RedisServer], own_postgres: Callable[..., PostgresServer]
) -> None:
    result = await Overload(SHORT, tmp_path, own_redis(), own_postgres(durable=True), print).run()
    assert not result.problems, "\n".join([f"logs in {tmp_path}:", *result.problems])


def test_redis_is_away_half_of_the_time_first_and_not_at_last() -> None:
    for seed in range(20):
        found = phases(Options(10, seed))
        assert [what for what, _ in found[:4]] == ["Redis killed", "Redis well", "Redis stalled", "Redis well"]
        assert found[-1][0] == "Redis well"
        away = sum(seconds for what, seconds in found if what != "Redis well")
        assert 0.4 < away / sum(seconds for _, seconds in found) < 0.6


def _good() -> Result:
    memory = Memory(list)
    memory.peak_bytes, memory.samples, memory.seconds = GATE_BYTES_MAX, 100, 10.0
    answers = Counter(
        {"202 redis": 5, "202 postgres": 5, "503 backlog-full": 80, "408 too-slow": 5, "413 too-large": 5}
    )
    return Result(
        Options(1, 1),
        memory,
        answers,
        accepted={"a", "b"},
        livez_seconds=[0.1],
        quiet=True,
        stored=Counter(["a", "b", "unheard"]),
        audit={"unaccounted": 0, "inbox": {"counted_rows": 0}},
    )


def test_the_verdict_is_good_when_every_promise_was_kept() -> None:
    assert _good().problems == []


def _grow(result: Result) -> None:
    result.memory.peak_bytes += 1


def _doze(result: Result) -> None:
    result.memory.samples = 40


def _lose(result: Result) -> None:
    del result.stored["b"]


def _double(result: Result) -> None:
    result.stored["a"] += 1


def _bury(result: Result) -> None:
    result.letters = 1


def _say_500(result: Result) -> None:
    result.answers["500 "] = 1


def _keep_back_when_to_come_again(result: Result) -> None:
    result.answers["503 backlog-full, without Retry-After"] = 1


def _offer_too_little(result: Result) -> None:
    result.answers["503 backlog-full"] = 70


def _never_use_the_inbox(result: Result) -> None:
    del result.answers["202 postgres"]


def _refuse(result: Result) -> None:
    result.ends["fickle: connection refused"] = 1


def _fall_silent(result: Result) -> None:
    result.ends["sender: no answer"] = 1


def _be_slow(result: Result) -> None:
    result.livez_seconds.append(2.1)


def _be_dead(result: Result) -> None:
    result.gate_ended = "exit -9"


def _leave_in_the_inbox(result: Result) -> None:
    result.audit["inbox"]["counted_rows"] = 1


def _miscount(result: Result) -> None:
    result.audit["unaccounted"] = 1


@pytest.mark.parametrize(
    "breaking",
    [
        _grow, _doze, _lose, _double, _bury, _say_500, _keep_back_when_to_come_again, _offer_too_little,
        _never_use_the_inbox, _refuse, _fall_silent, _be_slow, _be_dead, _leave_in_the_inbox, _miscount,
    ],
)  # fmt: skip
def test_the_verdict_sees_each_broken_promise(breaking: Callable[[Result], None]) -> None:
    result = _good()
    breaking(result)
    assert len(result.problems) == 1
