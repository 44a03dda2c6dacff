"""The second tier: while Redis is of no use, events are kept in the inbox in Postgres, from where workers move them on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import psycopg
import psycopg_pool

from ingest.fuse import Fuse
from ingest.group_commit import GroupCommit, NotDurableError, OverloadedError
from tidegate import inbox
from tidegate.postgres import Kind, Pool, borrowed, classify
from tidegate.stream import Appendable

FULL_SECONDS = 1.0
"""How long a full inbox is taken to be full without asking: it empties no faster than Redis comes back."""


class Inboxing:
    """Stores within ``store_seconds``, or blows the fuse. The inbox is bounded over all gates together."""

    def __init__(
        self, pool: Pool, fuse: Fuse, *, rows_max: int, bytes_max: int, store_seconds: float, events_max: int
    ) -> None:
        self.fuse = fuse
        self._pool = pool
        self._rows_max = rows_max
        self._bytes_max = bytes_max
        self._store_seconds = store_seconds
        self._full_until = float("-inf")
        self._commits = GroupCommit(
            self._commit, events_max=events_max, wait_seconds=store_seconds, is_open=fuse.is_whole
        )

    def why_not(self) -> str:
        """Return why it can take nothing now; empty when it can."""
        if not self.fuse.is_whole():
            return self.fuse.state()
        return "full" if time.monotonic() < self._full_until else ""

    async def store(self, items: Sequence[Appendable]) -> list[bool]:
        """Return for each item whether it was new to the inbox, once Postgres has committed all of them.

        Raises OverloadedError when it is full, NotDurableError when Postgres did not commit, or did not say so: then the
        same items may be stored again.
        """
        if time.monotonic() < self._full_until:
            raise OverloadedError("the inbox is full")
        return await self._commits.submit(items)

    async def drain(self) -> None:
        """Return when nothing is in flight."""
        await self._commits.drain()

    async def _commit(self, items: Sequence[Appendable]) -> list[bool]:
        try:
            async with asyncio.timeout(self._store_seconds), borrowed(self._pool, self._store_seconds) as connection:
                return await inbox.store(connection, items, rows_max=self._rows_max, bytes_max=self._bytes_max)
        except inbox.InboxFullError:
            self._full_until = time.monotonic() + FULL_SECONDS
            raise OverloadedError("the inbox is full") from None
        except (psycopg.Error, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed, OSError, TimeoutError) as error:
            if classify(error) is not Kind.PERMANENT:  # what one request brought must not close the tier to all
                self.fuse.blow(error)
            raise NotDurableError(str(error) or type(error).__name__) from None
