"""Batches go together; an entry that may take the process down goes alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turnstile:
    """Many `together`, or one `alone`. Who waits to be alone holds up those who come after, so it is not starved."""

    def __init__(self) -> None:
        self._entrance = asyncio.Lock()
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Be one of many."""
        async with self._entrance:
            self._inside += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be the only one."""
        async with self._entrance:
            await self._empty.wait()
            yield
