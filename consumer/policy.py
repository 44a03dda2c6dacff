"""Which retry schedule an event has: that of the first rule for its source and type, else the default. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from consumer.outcome import Schedule
from tidegate.pattern import Pattern
from tidegate.settings import RetryRule, RetrySettings

KNOWN_MAX = 10_000
"""Types come from outside: a cache of them must have an end."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A schedule, and the events it is for."""

    pattern: Pattern
    schedule: Schedule


class Policy:
    """The schedules of one deployment: ``rules`` in order, and ``default`` for what none of them is for."""

    def __init__(self, default: Schedule, rules: Sequence[Rule] = ()) -> None:
        self.default = default
        self.rules = tuple(rules)
        self._known = lru_cache(maxsize=KNOWN_MAX)(self._find)

    @classmethod
    def of(cls, settings: RetrySettings) -> Policy:
        """Return the policy of the section `retry`."""
        rules = [Rule(Pattern.of(rule.source, rule.type), _schedule(rule)) for rule in settings.rules]
        return cls(_schedule(settings), rules)

    def schedule_for(self, source: str, provider: str, event_type: str) -> Schedule:
        """Return the schedule of such an event."""
        return self._known(source, provider, event_type)

    def _find(self, source: str, provider: str, event_type: str) -> Schedule:
        for rule in self.rules:
            if rule.pattern.matches(source, provider, event_type):
                return rule.schedule
        return self.default

    @property
    def span_seconds(self) -> int:
        """The longest any schedule can keep a delivery on the retry stream."""
        return max(schedule.span_seconds for schedule in (self.default, *(rule.schedule for rule in self.rules)))


def _schedule(settings: RetrySettings | RetryRule) -> Schedule:
    age = settings.max_age_seconds
    return Schedule(
        tuple(round(delay * 1000) for delay in settings.delays_seconds),
        settings.jitter_ms,
        None if age is None else round(age * 1000),
    )
