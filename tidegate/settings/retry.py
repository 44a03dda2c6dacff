"""The section `retry`: when to try again, for which events."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from tidegate.pattern import covers
from tidegate.settings.base import Section


def _none_if_unlimited(value: float | None) -> float | None:
    return None if value == math.inf else value


Delays = Annotated[list[Annotated[float, Field(ge=0, le=30 * 86_400)]], Field(max_length=50)]
Glob = Annotated[str, Field(min_length=1, max_length=500)]
MaxAge = Annotated[float | None, Field(gt=0), AfterValidator(_none_if_unlimited)]


class RetryRule(Section):
    """What it leaves out is taken from [retry]."""

    source: Glob = "*"
    """Name of a source, or of a provider; `*`, `?` and `[]` as in file names."""
    type: Glob = "*"
    """Type of event, likewise."""
    delays_seconds: Delays = Field(default_factory=list)
    jitter_ms: Annotated[int, Field(ge=0)] = 0
    max_age_seconds: MaxAge = None
    """`inf`: no limit, whatever [retry] says."""

    def __str__(self) -> str:
        return f"source {self.source!r}, type {self.type!r}"


class RetrySettings(Section):
    delays_seconds: Delays = Field(default_factory=lambda: [5.0, 15.0, 60.0, 300.0, 900.0, 3600.0])
    """Wait before the second attempt, the third, ...; after the last the delivery is dead."""
    jitter_ms: Annotated[int, Field(ge=0)] = 1000
    """Up to this much is added, so that what failed together does not come back together."""
    max_age_seconds: MaxAge = None
    """A delivery whose next attempt would be later than this after it was received is dead; None: no limit."""
    rules: list[RetryRule] = Field(default_factory=list)
    """Other values for some sources or types: the first rule that matches counts."""

    @field_validator("rules")
    @classmethod
    def _complete(cls, rules: list[RetryRule], info: ValidationInfo) -> list[RetryRule]:
        """Refuse rules that never apply, and take what the others leave out from the section."""
        hidden = []
        for number, rule in enumerate(rules):
            over = [one for one in rules[:number] if covers(one.source, rule.source) and covers(one.type, rule.type)]
            if over:
                first = f"rules.{rules.index(over[0])} ({over[0]})"
                hidden.append(f"rules.{number} ({rule}) never applies: {first} comes before it and takes all of it")
        if hidden:
            raise ValueError("; ".join(hidden))
        return [
            rule.model_copy(update={name: info.data[name] for name in info.data if name not in rule.model_fields_set})
            for rule in rules
        ]
