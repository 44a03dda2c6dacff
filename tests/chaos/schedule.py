"""Which fault strikes when, on what, for how long. Pure: the same seed gives the same schedule."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. ``on``: what it strikes, in words; two that strike together have none in common."""

    name: str
    on: str
    seconds: tuple[float, float]
    """From how long to how long it holds, over and above ``leases`` times the lease."""
    leases: float = 0.0
    gates_up: bool = False
    """All gates answer when the traffic of its step begins: else what it is to show may find nobody who is asked."""


_EVERYTHING = "worker gate clock redis postgres"
KINDS = (
    Kind("worker killed", "worker", (0.0, 0.5)),
    Kind("worker stopped: a zombie wakes", "worker", (1.0, 4.0), leases=1),
    Kind("worker stopped briefly", "worker", (0.2, 2.0)),
    Kind("workers restarted in turn", "worker", (0.0, 0.0)),
    Kind("gate killed", "gate", (0.0, 1.0)),
    Kind("gate stopped", "gate", (0.3, 4.0)),
    Kind("gate restarted", "gate", (0.0, 0.5)),
    Kind("gate reloaded", "gate", (0.0, 0.5), gates_up=True),
    Kind("clock of a process stepped", "clock", (0.5, 4.0)),
    Kind("Redis killed", "redis", (0.0, 2.5)),
    Kind("Redis cut", "redis", (0.0, 0.5)),
    Kind("Redis deaf", "redis", (1.6, 6.0)),  # at least until the gate gives a call up
    Kind("Redis slow", "redis", (0.5, 4.0)),
    Kind("Redis answers lost", "redis", (0.2, 2.5)),
    Kind("consumer group destroyed", "redis", (0.0, 0.5)),
    Kind("leases look an hour old", "redis", (0.0, 0.5)),
    Kind("retries due an hour early", "redis", (0.0, 0.5)),
    Kind("Postgres killed", "postgres", (0.0, 2.0)),
    Kind("Postgres cut", "postgres", (0.0, 0.5)),
    Kind("Postgres deaf", "postgres", (0.5, 8.0)),
    Kind("Postgres slow", "postgres", (0.5, 4.0)),
    Kind("Postgres answers lost", "postgres", (0.2, 2.5)),
    Kind("Postgres read-only", "postgres", (0.5, 3.0)),
    Kind("Postgres disk full", "postgres", (0.5, 3.0)),
    Kind("Redis and Postgres away", _EVERYTHING, (2.2, 4.0), gates_up=True),  # longer than a provider waits
)
LAST = "worker killed"
"""Of this kind is the last fault of all, which strikes alone."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: of what kind, on which of several (any number, taken modulo), for how long, how strong (0 to 1)."""

    kind: Kind
    target: int
    seconds: float
    strength: float


@dataclass(frozen=True, slots=True)
class Step:
    """What strikes together, once the share ``at`` of the step's traffic has been answered."""

    faults: tuple[Fault, ...]
    at: float


def make(faults: int, *, seed: int, lease_seconds: float, pairs: float = 0.3, hold: float = 1.0) -> list[Step]:
    """Return steps with ``faults`` faults in all; every kind has struck n times before any strikes for the n + 2nd.

    ``pairs`` is the share of steps in which two strike together; ``hold`` scales how much longer than the
    shortest of their kind they hold.
    """
    chance = random.Random(seed)
    kinds: list[Kind] = []
    while len(kinds) < faults:
        kinds += chance.sample(KINDS, len(KINDS))
    left = [_fault(kind, chance, lease_seconds, hold) for kind in kinds[:faults]]
    # What is stranded in dead hands would pass unseen if the group were destroyed after it: then all is delivered again.
    last = next((fault for fault in reversed(left) if fault.kind.name == LAST), None)
    if last is not None:
        left.remove(last)
    steps: list[Step] = []
    while left:
        together = [left.pop(0)]
        if chance.random() < pairs:
            together += _partner(left, together[0])
        steps.append(Step(tuple(together), chance.uniform(0.05, 0.7)))
    if last is not None:
        steps.append(Step((last,), 0.05))
    return steps


def _fault(kind: Kind, chance: random.Random, lease_seconds: float, hold: float) -> Fault:
    least, most = kind.seconds
    seconds = kind.leases * lease_seconds + least + hold * chance.uniform(0, most - least)
    return Fault(kind, chance.randrange(1000), seconds, chance.random())


def _partner(left: list[Fault], first: Fault) -> Sequence[Fault]:
    """Take the next of ``left`` that strikes something else, if there is one."""
    for position, fault in enumerate(left):
        if not set(fault.kind.on.split()) & set(first.kind.on.split()):
            return [left.pop(position)]
    return []
