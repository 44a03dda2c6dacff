"""Whether an entry takes its workers down, told by how often it was delivered. Pure.

A delivery that ends without an outcome is evidence, not proof: every entry of the batch was in the dead worker's hands. So
from ``deliveries_max`` on an entry is tried alone, its count raised as the trial begins. That trial may end without a death,
too (its worker was told to leave, and could not say so to Redis): hence a second one, and only then the verdict.
"""

from __future__ import annotations

import enum

TRIALS = 2
"""How often an entry is tried alone before it is condemned."""


class Suspicion(enum.Enum):
    """What to do with an entry."""

    NONE = "none"
    """Apply it with others."""
    SUSPECT = "suspect"
    """Try it alone."""
    CONDEMNED = "condemned"
    """A letter, untried."""


def of(deliveries: int, deliveries_max: int) -> Suspicion:
    """Return what ``deliveries`` of an entry, this one included, say about it."""
    if deliveries < deliveries_max:
        return Suspicion.NONE
    return Suspicion.SUSPECT if deliveries < deliveries_max + TRIALS else Suspicion.CONDEMNED


def while_alive(deliveries: int, deliveries_max: int) -> int:
    """Return the count for a worker that reads its own entry again: it has not died of it, whatever was counted."""
    return min(deliveries, deliveries_max + TRIALS - 1)
