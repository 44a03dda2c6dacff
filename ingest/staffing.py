"""Which gate processes to start and which to send away, and how soon. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

STEADY_SECONDS = 10.0
"""Who has lived that long is replaced at once when it dies."""
_PAUSE_SECONDS = 0.5
_PAUSE_SECONDS_MAX = 30.0


@dataclass(eq=False, kw_only=True)
class Member:
    """A process that is to stay."""

    edition: int
    """Number of the settings it runs with."""
    ready: bool = False
    """It has begun to serve."""


M = TypeVar("M", bound=Member)


@dataclass(frozen=True)
class Plan(Generic[M]):
    start: int
    retire: Sequence[M]


def plan(staying: Sequence[M], *, edition: int, wanted: int, proven: bool) -> Plan[M]:
    """Return what brings ``staying`` nearer to ``wanted`` processes of ``edition``, with never fewer than that serving.

    Until one of the edition has served (``proven``) only one is tried: settings that do not work cost one error line. Those of
    other editions leave one by one, each when its successor is ready.
    """
    current = [member for member in staying if member.edition == edition]
    former = [member for member in staying if member.edition != edition]
    serving = [member for member in current if member.ready]
    surplus = max(0, len(serving) + len(former) - wanted)
    at_once = wanted if proven and not former else 1
    start = min(wanted - len(current), at_once - (len(current) - len(serving)))
    return Plan(max(0, start), [*former, *serving][:surplus])


def pause_seconds(failures: int) -> float:
    """Return how long to wait before the next start, after ``failures`` early deaths in a row."""
    return min(_PAUSE_SECONDS_MAX, _PAUSE_SECONDS * 2.0 ** min(failures - 1, 16)) if failures else 0.0
