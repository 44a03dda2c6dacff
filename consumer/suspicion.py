"""Whether an entry takes its workers down, told by how often it was delivered. Pure.

A delivery that ends without an outcome is evidence, not proof: every entry of the batch was in the dead worker's hands. So
from ``deliveries_max`` on an entry is tried alone. As a trial begins the count is set above `TRIAL`, so that only trials
condemn, and not claims. A trial may end without a death, too (its worker was told to leave, and could not say so to Redis):
hence a second one, and only then the verdict.
"""

from __future__ import annotations

import enum

TRIAL = 1000
"""A delivery count of this plus n stands for n trials."""
TRIALS_MAX = 2
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
    if deliveries >= TRIAL + TRIALS_MAX:
        return Suspicion.CONDEMNED
    return Suspicion.NONE if deliveries < deliveries_max else Suspicion.SUSPECT


def on_trial(deliveries: int) -> int:
    """Return the count for an entry that is about to be tried alone."""
    return max(deliveries, TRIAL) + 1


def while_alive(deliveries: int) -> int:
    """Return the count for a worker that reads its own entry again: it has not died of it, whatever was counted."""
    return min(deliveries, TRIAL + TRIALS_MAX - 1)
