"""What one worker has in its hands: which entries, and how many bytes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from tidegate.wire import Entry


class Holding:
    """Entries that are being applied, or wait for it: pending for us, and read by nobody else while we renew their lease."""

    def __init__(self, shards: int) -> None:
        self._bytes_of: list[dict[bytes, int]] = [{} for _ in range(shards)]
        self.bytes = 0
        self.freed = asyncio.Event()
        """Set when something was let go of."""

    def __len__(self) -> int:
        return sum(map(len, self._bytes_of))

    def add(self, entry: Entry) -> bool:
        """Take in ``entry``; return whether it was not there yet."""
        held = self._bytes_of[entry.shard]
        if entry.entry_id in held:
            return False
        held[entry.entry_id] = entry.bytes_count
        self.bytes += entry.bytes_count
        return True

    def discard(self, entries: Iterable[Entry]) -> None:
        """Let go of ``entries``."""
        for entry in entries:
            self.bytes -= self._bytes_of[entry.shard].pop(entry.entry_id, 0)
        self.freed.set()

    def clear(self) -> None:
        """Let go of everything."""
        for held in self._bytes_of:
            held.clear()
        self.bytes = 0
        self.freed.set()

    def of(self, shard: int) -> list[bytes]:
        """Return the ids held on ``shard``."""
        return list(self._bytes_of[shard])
