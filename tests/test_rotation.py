"""A secret is called safe to retire only when its going costs no event; what the record does not hold is not claimed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tidegate import rotation
from tidegate.cli import source_secrets
from tidegate.rotation import Standing, Verdict
from tidegate.stream import SecretUse

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOW = int(datetime(2026, 11, 24, 10, tzinfo=UTC).timestamp() * 1000)


@dataclass(frozen=True)
class Seen:
    """One secret as on record. Times are how long ago; ``last`` None: it never verified."""

    last: int | None
    known: int = 20 * DAY
    since: int = 1000
    silence: int = 0
    held: int = 0
    count: int = 500

    def use(self, name: str) -> SecretUse:
        last_ms = None if self.last is None else NOW - self.last
        return SecretUse(
            mark=f"mark-{name}",
            label=name,
            known_ms=NOW - self.known,
            held_ms=NOW - self.held,
            count=0 if last_ms is None else self.count,
            first_ms=None if last_ms is None else NOW - self.known,
            last_ms=last_ms,
            silence_ms=self.silence,
            since=self.since,
        )


def judge(*seen: Seen, retire_ms: int = 4 * DAY) -> list[Standing]:
    """Return how the secrets of a source stand, called a, b, c."""
    names = "abc"[: len(seen)]
    uses = [one.use(name) for one, name in zip(seen, names, strict=True)]
    return rotation.standings([(name, f"mark-{name}") for name in names], uses, retire_ms=retire_ms, now_ms=NOW)


def told(one: Standing) -> str:
    return source_secrets.says(one, datetime.fromtimestamp(NOW / 1000, UTC))


FRESH = Seen(last=1000)

OLD: list[tuple[str, Seen, Seen, Verdict, str]] = [
    ("long unused", Seen(6 * DAY), FRESH, "retire", "unused for 6 days: safe to retire"),
    ("unused for hours", Seen(5 * HOUR), FRESH, "waiting", "unused for 5 hours: wait until 2026-11-28 05:00 UTC"),
    (
        "a moment too early",
        Seen(4 * DAY + 999),
        FRESH,
        "waiting",
        "unused for 4 days, but others verified for only 3 days of it: wait for 4 days",
    ),
    ("just long enough", Seen(4 * DAY + 1000), FRESH, "retire", "unused for 4 days: safe to retire"),
    ("a minute ago", Seen(MINUTE), FRESH, "in_use", "in use"),
    ("an hour ago", Seen(HOUR), FRESH, "waiting", "unused for 60 min: wait until 2026-11-28 09:00 UTC"),
    (
        "used once a week",
        Seen(6 * DAY, silence=7 * DAY),
        FRESH,
        "waiting",
        "unused for 6 days: wait until 2026-12-02 10:00 UTC",
    ),
    ("no more of once a week", Seen(15 * DAY, silence=7 * DAY), FRESH, "retire", "unused for 15 days: safe to retire"),
    (
        "hardly anything since",
        Seen(6 * DAY, since=9),
        FRESH,
        "waiting",
        "unused for 6 days, but only 9 requests came since: wait for 10",
    ),
    ("just enough since", Seen(6 * DAY, since=10), FRESH, "retire", "unused for 6 days: safe to retire"),
    (
        "both silent",
        Seen(6 * DAY),
        Seen(4 * DAY),
        "waiting",
        "unused for 6 days, but others verified for only 2 days of it: wait for 4 days",
    ),
    ("the last that verified", Seen(6 * DAY), Seen(7 * DAY), "in_use", "the last one that verified: keep it"),
    ("both at once", Seen(6 * DAY), Seen(6 * DAY), "in_use", "the last one that verified: keep it"),
    ("the other one never", Seen(6 * DAY), Seen(None), "in_use", "the last one that verified: keep it"),
    (
        "never, on record for long",
        Seen(None),
        FRESH,
        "unseen",
        "not used in 19 days while others were: retire it only if it is the old one",
    ),
    ("never, just configured", Seen(None, known=HOUR), FRESH, "no_evidence", "no evidence yet"),
    ("never, nor the other", Seen(None), Seen(None), "no_evidence", "no evidence yet"),
    ("never, and nothing came since", Seen(None, known=6 * DAY), Seen(8 * DAY), "no_evidence", "no evidence yet"),
    ("a clock ahead of ours", Seen(-MINUTE), FRESH, "in_use", "in use"),
]


@pytest.mark.parametrize(("old", "new", "verdict", "says"), [row[1:] for row in OLD], ids=[row[0] for row in OLD])
def test_of_two_secrets_the_one_is_retired_only_when_that_costs_nothing(
    old: Seen, new: Seen, verdict: Verdict, says: str
) -> None:
    found = judge(old, new)[0]
    assert (found.verdict, told(found)) == (verdict, says)


def test_a_longer_retry_of_the_provider_is_a_longer_wait() -> None:
    found = judge(Seen(6 * DAY), FRESH, retire_ms=30 * DAY)[0]
    assert (found.verdict, told(found)) == ("waiting", "unused for 6 days: wait until 2026-12-18 10:00 UTC")


@pytest.mark.parametrize("last", [None, 1000, 100 * DAY])
def test_the_only_secret_is_never_retired(last: int | None) -> None:
    assert judge(Seen(last))[0].verdict in ("in_use", "no_evidence")


def test_one_is_always_left() -> None:
    ages = [None, 1000, HOUR, 5 * DAY, 6 * DAY, 12 * DAY]
    for first in ages:
        for second in ages:
            for third in ages:
                stood = judge(Seen(first), Seen(second), Seen(third))
                assert not all(one.verdict == "retire" for one in stood)
                used = [age for age in (first, second, third) if age is not None]
                if used:
                    assert any(
                        one.verdict == "in_use" and one.use is not None and one.use.last_ms == NOW - min(used)
                        for one in stood
                    )


def test_a_secret_that_verified_and_is_in_no_settings_is_removed() -> None:
    uses = [Seen(6 * DAY, held=DAY).use("a"), FRESH.use("b"), Seen(None).use("never"), Seen(1000).use("still")]
    stood = rotation.standings([("b", "mark-b")], uses, retire_ms=DAY, now_ms=NOW)
    assert [(one.label, one.verdict, told(one)) for one in stood] == [
        ("b", "in_use", "in use"),
        ("a", "removed", "not in the settings any more"),
        ("still", "removed", "not in the settings, but a gate still has it: reload the gates"),
    ]


def test_a_removed_one_is_no_witness() -> None:
    """What it verified, nobody will verify any more."""
    uses = [Seen(6 * DAY).use("a"), Seen(1000).use("removed")]
    found = rotation.standings([("a", "mark-a"), ("new", "mark-new")], uses, retire_ms=DAY, now_ms=NOW)
    assert [one.verdict for one in found] == ["in_use", "no_evidence", "removed"]
    assert told(found[1]) == "no evidence yet: no gate has told of it"


def test_another_secret_under_an_old_label_has_no_past() -> None:
    """`env:OLD` gets a new value each time: what its value of last year did must not have it retired today."""
    uses = [Seen(100 * DAY).use("env:OLD"), FRESH.use("env:NEW")]
    configured = [("env:NEW", "mark-today"), ("env:OLD", "mark-env:NEW")]
    found = rotation.standings(configured, uses, retire_ms=DAY, now_ms=NOW)
    assert [(one.label, one.verdict) for one in found] == [
        ("env:NEW", "no_evidence"), ("env:OLD", "in_use"), ("env:OLD", "removed"),
    ]  # fmt: skip


def test_a_secret_that_cannot_be_read_here_is_known_by_the_label_that_gates_gave_it_last() -> None:
    uses: list[SecretUse] = [Seen(100 * DAY, held=50 * DAY).use("env:A"), FRESH.use("b")]
    later: Any = Seen(1000, count=7).use("env:A")
    uses.append(SecretUse(**{name: getattr(later, name) for name in later.__slots__} | {"mark": "other"}))
    found = rotation.standings([("env:A", None), ("b", "mark-b")], uses, retire_ms=DAY, now_ms=NOW)
    assert found[0].use is not None
    assert (found[0].use.mark, found[0].use.count, found[0].verdict) == ("other", 7, "in_use")


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (Seen(3 * MINUTE, count=1204), "verified 1,204 requests since 2026-11-04, the last 3 min ago"),
        (Seen(6 * DAY, count=1), "verified 1 request since 2026-11-04, the last 6 days ago"),
        (Seen(None, known=DAY), "never verified a request since 2026-11-23"),
    ],
)
def test_what_it_is_judged_by_begins_with_the_record(seen: Seen, says: str) -> None:
    assert source_secrets.evidence(judge(seen)[0], datetime.fromtimestamp(NOW / 1000, UTC)) == says
