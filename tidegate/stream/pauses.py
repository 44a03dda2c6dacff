"""Sources that a person has paused, kept in one hash: what the gates and workers of a deployment all look at.

`refuse`: the gate answers 503, and what was accepted before is applied. `hold`: the gate takes events as ever, and they wait.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from redis.exceptions import RedisError

from tidegate.stream.calls import limited
from tidegate.stream.client import UNAVAILABLE, Client
from tidegate.stream.keys import paused
from tidegate.telemetry import logs

log = logs.get(__name__)

Mode = Literal["refuse", "hold"]
WHY_CHARS_MAX = 500
_YEAR_10000_MS = 253_402_300_800_000
CALL_SECONDS = 5.0
"""Limit of one call, whatever the socket does: a gate looks once a second, beside its requests."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Since when (Unix milliseconds) and why a source is paused; ``why`` may be empty."""

    mode: Mode
    since_ms: int
    why: str


class Pauses:
    """The pauses of the deployment whose keys begin with ``prefix``. Methods raise redis-py's errors."""

    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._key = paused(prefix)
        self._unreadable: set[tuple[bytes, bytes]] = set()

    async def set(self, source: str, mode: Mode, why: str = "", *, since_ms: int | None = None) -> None:
        """Pause ``source``, from now on unless ``since_ms`` says otherwise. Safe to repeat."""
        pause = Pause(mode, time.time_ns() // 1_000_000 if since_ms is None else since_ms, why[:WHY_CHARS_MAX])
        await limited(lambda: self._client.hset(self._key, source, json.dumps(asdict(pause))), CALL_SECONDS)

    async def clear(self, source: str) -> Pause | None:
        """Let ``source`` go on; return how it was paused, None when it was not (or an answer was lost before)."""
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.hget(self._key, source)
            pipe.hdel(self._key, source)
            found, _ = await limited(pipe.execute, CALL_SECONDS)
        return None if found is None else self._read(source.encode(), found)

    async def load(self) -> dict[str, Pause]:
        """Return every pause, by source. What no version of ours wrote is left out, and said once."""
        found: dict[str, Pause] = {}
        held = await limited(lambda: self._client.hgetall(self._key), CALL_SECONDS)
        for name, value in cast(Mapping[bytes, bytes], held).items():
            pause = self._read(name, value)
            if pause is not None:
                found[name.decode()] = pause
        return found

    def _read(self, name: bytes, value: bytes) -> Pause | None:
        try:
            name.decode()
            return _pause(json.loads(value))
        except (ValueError, ArithmeticError, TypeError, KeyError, RecursionError) as error:
            if (name, value) not in self._unreadable and len(self._unreadable) < 100:  # it is read every second
                self._unreadable.add((name, value))
                log.error(
                    "a pause that is none of ours is left out",
                    source=name.decode("utf-8", "replace")[:200],
                    error=str(error)[:200],
                )
            return None


def _pause(held: Any) -> Pause:
    if held["mode"] not in get_args(Mode):
        raise ValueError(f"no such mode: {held['mode']!r}")
    since_ms = int(held["since_ms"])
    if not 0 <= since_ms < _YEAR_10000_MS:
        raise ValueError("since_ms is no time before the year 10000")
    return Pause(held["mode"], since_ms, str(held.get("why", "")))


class PauseView:
    """The pauses as last seen, for hot paths. Whoever holds it calls `refresh` about once a second."""

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses
        self._known: dict[str, Pause] = {}
        self.held: frozenset[str] = frozenset()
        """The sources whose events wait."""

    def get(self, source: str) -> Pause | None:
        """Return how ``source`` is paused, None when it is not."""
        return self._known.get(source)

    async def refresh(self) -> bool:
        """Look again; return whether Redis answered. While it does not, all stays as it was last seen."""
        try:
            await self.load()
        except (*UNAVAILABLE, RedisError):
            return False
        return True

    async def load(self) -> None:
        """Look again, as `refresh` does, but raise what is wrong: for a start, when nothing was seen yet."""
        before, self._known = self._known, await self._pauses.load()
        self.held = frozenset(source for source, pause in self._known.items() if pause.mode == "hold")
        for source, pause in self._known.items():
            old = before.get(source)
            if old is None or old.mode != pause.mode:
                log.info("source paused", source=source, mode=pause.mode, why=pause.why)
        for source in before.keys() - self._known.keys():
            log.info("source resumed", source=source)
