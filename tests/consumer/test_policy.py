"""Which events are tried again when: the rules, and what becomes of real deliveries under them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consumer.outcome import Outcome, Schedule
from consumer.policy import KNOWN_MAX, Policy, Rule
from dlq import replay
from tests.fixtures import Rig, event
from tidegate import Event, Retry
from tidegate.errors import UsageError
from tidegate.pattern import Pattern
from tidegate.settings import RetrySettings, load

DEFAULT = Schedule([1], 0)
HOUR_MS = 3_600_000


def named(*patterns: tuple[str, str]) -> Policy:
    """Return a policy whose n-th rule has a jitter of n."""
    rules = [Rule(Pattern.of(*globs), Schedule([], number)) for number, globs in enumerate(patterns, 1)]
    return Policy(DEFAULT, rules)


@pytest.mark.parametrize(
    ("source", "provider", "event_type", "rule"),
    [
        ("lemlist", "lemlist", "emailsSent", 1),
        ("lemlist-eu", "lemlist", "emailsSent", 1),
        ("lemlist-eu", "lemlist", "hooked", 2),
        ("shop", "standard-webhooks", "order.paid", 3),
        ("shop", "standard-webhooks", "Order.paid", 0),
        ("crm", "hubspot", "emailsSent", 0),
    ],
)
def test_the_first_rule_for_its_source_and_type_decides(source: str, provider: str, event_type: str, rule: int) -> None:
    policy = named(("lemlist", "emails*"), ("lem*", "*"), ("*", "order.*"), ("shop", "order.paid"))
    assert policy.schedule_for(source, provider, event_type).jitter_ms == rule
    assert policy.schedule_for(source, provider, event_type).jitter_ms == rule


def test_a_provider_that_invents_types_does_not_fill_the_memory() -> None:
    policy = named(("lemlist", "*"))
    for number in range(KNOWN_MAX + 10):
        policy.schedule_for("shop", "standard-webhooks", f"t-{number}")
    assert policy._known.cache_info().currsize == KNOWN_MAX


def settings(tmp_path: Path, text: str) -> RetrySettings:
    path = tmp_path / "tidegate.toml"
    path.write_text(text)
    return load(path).retry


RETRY = "[retry]\ndelays_seconds = [2, 3]\njitter_ms = 7\nmax_age_seconds = 60\n"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("", Schedule((2000, 3000), 7, 60_000)),
        ("delays_seconds = [0.5]", Schedule((500,), 7, 60_000)),
        ("delays_seconds = []", Schedule((), 7, 60_000)),
        ("jitter_ms = 0", Schedule((2000, 3000), 0, 60_000)),
        ("max_age_seconds = 0.25", Schedule((2000, 3000), 7, 250)),
        ("max_age_seconds = inf", Schedule((2000, 3000), 7, None)),
    ],
)
def test_what_a_rule_leaves_out_is_that_of_the_section(tmp_path: Path, rule: str, expected: Schedule) -> None:
    policy = Policy.of(settings(tmp_path, f'{RETRY}[[retry.rules]]\ntype = "a"\n{rule}\n'))
    assert policy.schedule_for("s", "p", "a") == expected
    assert policy.schedule_for("s", "p", "b") == Schedule((2000, 3000), 7, 60_000)


def test_rules_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_RETRY__RULES", '[{"source": "shop", "delays_seconds": [9]}]')
    assert Policy.of(load().retry).schedule_for("shop", "p", "t") == Schedule((9000,), 1000)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            ['type = "a"', 'type = "b"', 'type = "a"'],
            ["rules.2 (source '*', type 'a')", "rules.0 (source '*', type 'a')"],
        ),
        (["jitter_ms = 5", 'source = "shop"'], ["rules.1 (source 'shop', type '*') never applies", "rules.0"]),
        (['type = "emails*"', 'source = "shop"\ntype = "emailsS*"'], ["rules.1 (source 'shop', type 'emailsS*')"]),
        (["", "", ""], ["rules.1 (", "rules.2 ("]),
        (["delay_seconds = [1]"], ["'retry.rules.0.delay_seconds': did you mean 'retry.rules.0.delays_seconds'?"]),
        (["delays_seconds = [-1]"], ["setting 'retry.rules.0.delays_seconds.0'"]),
        (["max_age_seconds = 0"], ["setting 'retry.rules.0.max_age_seconds'"]),
        (["max_age_seconds = nan"], ["setting 'retry.rules.0.max_age_seconds'"]),
        (['source = ""'], ["setting 'retry.rules.0.source'"]),
    ],
)
def test_a_rule_that_could_never_apply_or_is_misspelt_is_refused(
    tmp_path: Path, rules: list[str], said: list[str]
) -> None:
    with pytest.raises(UsageError) as error:
        settings(tmp_path, "".join(f"[[retry.rules]]\n{rule}\n" for rule in rules))
    assert [text for text in said if text not in str(error.value)] == []


def test_rules_that_leave_something_to_those_after_them_are_taken(tmp_path: Path) -> None:
    rules = ['type = "a?"', 'type = "a*"', 'source = "shop"', 'source = "s*"', 'type = "b"', ""]
    assert len(settings(tmp_path, "".join(f"[[retry.rules]]\n{rule}\n" for rule in rules)).rules) == len(rules)


def test_an_orphan_is_remembered_as_waiting_for_as_long_as_the_slowest_rule_keeps_it() -> None:
    slow = Rule(Pattern.of("*", "slow"), Schedule([60_000, 120_000], 1000))
    assert Policy(DEFAULT, [slow]).span_seconds == 182
    assert Policy(slow.schedule, [Rule(Pattern.of("*", "a"), DEFAULT)]).span_seconds == 182


async def letters(rig: Rig) -> list[tuple[Any, ...]]:
    return await rig.rows("SELECT provider_event_id, reason, error, attempts FROM dead_letters ORDER BY 1")


async def test_each_type_is_given_up_by_its_own_rule_and_the_letter_says_why(rig: Rig) -> None:
    @rig.handlers.on("*")
    async def never(item: Event, _tx: Any) -> None:
        waiting_for = "order:7" if item.event_type == "orphan" else None
        raise Retry("not yet", waiting_for=waiting_for)

    minute = Schedule([0, 0, 0], 0, max_age_ms=60_000)
    rig.rules = [Rule(Pattern.of("*", "once"), Schedule([], 0)), Rule(Pattern.of("standard-*", "o*"), minute)]
    old = {"received_at_ms": event().received_at_ms - HOUR_MS}
    await rig.send(
        event("default", event_type="paid"),
        event("once", event_type="once"),
        event("old", event_type="other", **old),
        event("old-orphan", event_type="orphan", **old),
        event("young", event_type="other"),
    )
    await rig.drain()
    assert await letters(rig) == [
        ("default", "exhausted", "not yet", 3),
        ("old", "expired", "not yet", 1),
        ("old-orphan", "orphaned", "not yet (waiting for order:7)", 1),
        ("once", "exhausted", "not yet", 1),
        ("young", "exhausted", "not yet", 4),
    ]


async def test_a_letter_replayed_long_after_it_was_received_is_tried_as_often_as_a_new_one(rig: Rig) -> None:
    @rig.handlers.on("*")
    async def never(_item: Event, _tx: Any) -> None:
        raise Retry

    rig.schedule = Schedule([0, 0], 0, max_age_ms=60_000)
    await rig.send(event("a", received_at_ms=event().received_at_ms - HOUR_MS))
    assert await rig.drain() == {Outcome.DEAD: 1}
    ((letter,),) = await rig.rows("SELECT id FROM dead_letters")
    async with rig.pool.connection() as connection:
        await replay.replay(rig.stream, connection, [letter])
    assert await rig.drain() == {Outcome.RETRY: 2, Outcome.DEAD: 1}
    assert await rig.rows("SELECT reason, attempts FROM dead_letters") == [("exhausted", 4)]
