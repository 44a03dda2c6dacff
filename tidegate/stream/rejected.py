"""The record of refused requests: a capped stream that people read.

A record, not a queue: it is trimmed by length, a record may be missing, and one whose answer was lost is sent again and
may be there twice; `id` tells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from tidegate.settings import StreamSettings
from tidegate.stream.calls import limited
from tidegate.stream.client import Client
from tidegate.stream.keys import rejected


@dataclass(frozen=True, slots=True)
class Rejected:
    """One refused request, redacted by whoever made it: no body, signature, secret or query string.

    ``source`` is a configured one, or the beginning of what was asked for. ``clock_seconds``: how far the time it says it was
    signed at was behind ours (negative: ahead). ``suppressed``: how many like it (same source, same reason) came since the
    last one of these and were not recorded.
    """

    id: str
    at_ms: int
    source: str
    provider: str
    status: int
    reason: str
    detail: str
    scheme: str
    clock_seconds: float | None
    bytes: int
    content_type: str
    address: str
    request_id: str
    user_agent: str
    suppressed: int

    def encode(self) -> dict[str, str]:
        """Return the fields of its entry."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: "" if value is None else str(value) for name, value in values.items()}


def _decode(entry: Mapping[bytes, bytes]) -> Rejected:
    """Return the record in an entry's fields. What is missing or no number is empty: it may be of another version."""
    text = {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in entry.items()}
    values: dict[str, Any] = {field.name: text.get(field.name, "") for field in fields(Rejected)}
    for name in ("at_ms", "status", "bytes", "suppressed"):
        values[name] = _integer(values[name])
    values["clock_seconds"] = _number(values["clock_seconds"])
    return Rejected(**values)


def _integer(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


Entry = tuple[str, Rejected]
"""The id on the stream, and the record."""


class RejectedLog:
    """The stream at `{prefix}:rejected`. Raises redis-py's errors; a call may take ``call_seconds``, whatever the socket does."""

    def __init__(self, client: Client, *, prefix: str, call_seconds: float = 10.0) -> None:
        self._client = client
        self._key = rejected(prefix)
        self._call_seconds = call_seconds

    @classmethod
    def of(cls, client: Client, settings: StreamSettings) -> Self:
        """Return the log ``settings`` describe."""
        return cls(client, prefix=settings.prefix, call_seconds=2 * settings.timeout_seconds)

    async def add(self, records: Sequence[Rejected], maxlen: int) -> None:
        """Add ``records`` in one call and keep about the newest ``maxlen``: Redis drops whole blocks, of some 100."""
        async with self._client.pipeline(transaction=False) as calls:
            for record in records:
                calls.xadd(self._key, record.encode(), maxlen=maxlen, approximate=True)  # type: ignore[arg-type]
            await limited(calls.execute, self._call_seconds)

    async def newest(self, count: int, *, before: str | None = None) -> list[Entry]:
        """Return up to ``count`` of the newest entries, older than the entry ``before``, oldest first."""
        end = "+" if before is None else f"({before}"
        found: Any = await limited(lambda: self._client.xrevrange(self._key, max=end, count=count), self._call_seconds)
        return _entries(reversed(found))

    async def after(self, entry_id: str, *, count: int, block_ms: int) -> list[Entry]:
        """Return up to ``count`` entries newer than ``entry_id`` (`0`: all), waiting ``block_ms`` for the first.

        The client must have been made for that wait (`connect(block_seconds=)`).
        """
        found: Any = await limited(
            lambda: self._client.xread({self._key: entry_id}, count=count, block=block_ms),
            self._call_seconds + block_ms / 1000,
        )
        return _entries(found[0][1] if found else [])


def _entries(found: Any) -> list[Entry]:
    return [(entry_id.decode(), _decode(entry)) for entry_id, entry in found]
