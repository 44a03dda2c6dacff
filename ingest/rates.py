"""How often one source, or one client address, may come."""

from __future__ import annotations

import functools
import math

from aiolimiter import AsyncLimiter

ADDRESSES_MAX = 10_000
"""Of which the rate is remembered, the latest: a flood from ever new addresses must not take memory."""


class Rate:
    """``rate_per_second`` in the long run, ``burst`` at once."""

    def __init__(self, rate_per_second: float, burst: int) -> None:
        self.retry_after_seconds = max(1, math.ceil(1 / rate_per_second))
        self._limiter = AsyncLimiter(burst, burst / rate_per_second)

    def has_room(self) -> bool:
        """Tell whether one more is within the rate."""
        return self._limiter.has_capacity()

    async def admits(self) -> bool:
        """Count one more, and return whether it is within the rate. What is not within does not count."""
        if not self._limiter.has_capacity():
            return False
        await self._limiter.acquire()  # has capacity: does not wait
        return True


class AddressRates:
    """The same rate for each client address."""

    def __init__(self, rate_per_second: float, burst: int) -> None:
        self.rate_of = functools.lru_cache(maxsize=ADDRESSES_MAX)(lambda address: Rate(rate_per_second, burst))
