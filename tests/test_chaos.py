"""The chaos suite in short: every kind of fault once, two at a time, under traffic. `make chaos` is the long way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import feed, schedule
from tests.chaos.driver import Options, play
from tests.chaos.feed import Fate
from tests.chaos.schedule import KINDS
from tests.chaos.verdict import There, Verdict
from tidegate.embedded import PostgresServer, RedisServer

SHORT = Options(events=4000, faults=len(KINDS), seed=11, minutes=5, workers=2, pairs=1.0, hold=0.3)


@pytest.mark.process
async def test_no_event_is_lost_or_doubled_whatever_breaks(
    tmp_path: Path, own_redis: Callable[..., RedisServer], own_postgres: Callable[..., PostgresServer]
) -> None:
    folder = tmp_path / "chaos"
    folder.mkdir()
    result = await play(SHORT, folder, own_redis(), own_postgres(durable=True), say=print)
    assert not result.verdict.problems, "\n".join([f"seed {SHORT.seed}, logs in {folder}:", *result.verdict.problems])
    assert result.struck.keys() == {kind.name for kind in KINDS}
    assert len(result.provider.accepted) >= SHORT.events
    assert result.verdict.ledger["duplicate"], (
        "no repeated event got past the gate: Postgres' recognition was not tried"
    )
    assert result.verdict.letters.keys() >= {"exhausted", "invalid", "malformed", "rejected"}


def test_a_failing_seed_gives_the_same_schedule_and_traffic_again() -> None:
    one, other, third = (schedule.make(100, seed=seed, lease_seconds=3) for seed in (7, 7, 8))
    assert one == other
    assert one != third
    assert feed.make(500, seed=7).posts == feed.make(500, seed=7).posts


def test_every_kind_of_fault_strikes_as_often_as_any_other() -> None:
    steps = schedule.make(3 * len(KINDS), seed=1, lease_seconds=3)
    assert Counter(fault.kind for step in steps for fault in step.faults) == dict.fromkeys(KINDS, 3)


ACCEPTED = {("crm", "a"): Fate("applied", effect=True), ("crm", "b"): Fate("letter"), ("crm", "c"): Fate("ignored")}


def _there() -> There:
    events = {("crm", "a"): "applied", ("crm", "c"): "ignored"}
    return There(events, {("crm", "b"): "rejected"}, Counter({("crm", "a"): 1}), Counter())


def _lose(there: There) -> None:
    del there.letters["crm", "b"]


def _lose_effect(there: There) -> None:
    del there.effects["crm", "a"]


def _double(there: There) -> None:
    there.effects["crm", "a"] += 1


def _bury_too(there: There) -> None:
    there.letters["crm", "a"] = "exhausted"


def _bury_instead(there: There) -> None:
    there.letters["crm", "c"] = "exhausted"
    del there.events["crm", "c"]


def _invent(there: There) -> None:
    there.events["crm", "d"] = "applied"


def test_the_verdict_is_good_when_every_promise_was_kept() -> None:
    verdict = Verdict()
    verdict.judge_events(ACCEPTED, _there())
    assert not verdict.problems


@pytest.mark.parametrize("breaking", [_lose, _lose_effect, _double, _bury_too, _bury_instead, _invent])
def test_the_verdict_sees_each_broken_promise(breaking: Callable[[There], None]) -> None:
    there, verdict = _there(), Verdict()
    breaking(there)
    verdict.judge_events(ACCEPTED, there)
    assert verdict.problems
