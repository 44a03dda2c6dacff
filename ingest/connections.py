"""The open connections of one process: what each keeps us waiting for, and since when.

A connection whose request we are working on waits in no line, and is never closed for the sake of others. Any other stands in
exactly one, in order of its coming there; what arrives byte by byte keeps its place. So whoever is overdue, and whoever has to
make room, stands at a front: O(1), and one timer for all of them rather than one a request.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self, get_args

from ingest.problems import Problem
from tidegate.settings import IngestSettings
from tidegate.telemetry import logs, metrics

log = logs.get(__name__)

Reason = Literal[
    "evicted",  # it had kept us waiting longest when another wanted in
    "failed",  # a mistake of ours while reading its request; in the log
    "full",  # nobody could make room for it: 503
    "header_large",  # 431
    "header_slow",  # 408
    "idle",  # no next request within keep_alive_seconds
    "leaving",  # we stop
    "malformed",  # 400
    "pipelined",  # more requests ahead of their answers than we keep
    "requests",  # keep_alive_requests_max
    "silent",  # connected, and sent nothing
    "unread",  # does not read what we answer
]

LINGER_SECONDS = 2.0
"""How long what a client still sends is read and thrown away after its last answer. Closed at once, the kernel would answer it
with a reset, and that can overtake the answer."""
_SWEPT_MAX = 500
"""Connections closed in one turn of the loop: ten thousand that expire together must not hold up a request."""
_PARTED_MAX = 128
"""So many of them beside connections_max; beyond that whoever lingers longest is cut off."""
_FILES_RESERVED = 2 * _PARTED_MAX
"""Open files that are no connections: Redis, Postgres, logs; and clients that were just accepted and have to be turned away."""
_ACCEPTED_MAX = 2048
"""The backlog of `tidegate.serving.listen`: so many may be accepted in one turn, before any of them is closed again."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection may bring, and how long it may take."""

    header_bytes_max: int
    header_seconds: float
    keep_alive_seconds: float
    keep_alive_requests_max: int
    connections_max: int
    retry_after_seconds: int

    @classmethod
    def of(cls, settings: IngestSettings) -> Self:
        """Return those of ``settings``."""
        return cls(
            header_bytes_max=settings.header_bytes_max,
            header_seconds=settings.header_seconds,
            keep_alive_seconds=settings.keep_alive_seconds,
            keep_alive_requests_max=settings.keep_alive_requests_max,
            connections_max=settings.connections_max,
            retry_after_seconds=settings.retry_after_seconds,
        )


class Line(OrderedDict["Guest", float]):
    """Connections that keep us waiting for one thing, and since when (of time.monotonic), longest first."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        """How long one may stand here."""


class Guest(Protocol):
    """A connection, as seen from here."""

    line: Line | None
    """Where it stands; only `Connections` writes this."""

    def expire(self, line: Line) -> None:
        """It stood in ``line`` for as long as one may, and is out of it."""

    def evict(self) -> None:
        """Another takes its place: close, and free the file at once."""

    def leave(self) -> None:
        """The answer under way, if any, is the last one."""


class Connections:
    """The open connections of this process."""

    def __init__(
        self, limits: ConnectionLimits, refused: Callable[[Problem, Reason, str], None] = lambda *_: None
    ) -> None:
        """``refused`` is told of each request that is refused before it is one: the answer, why, and the client's address."""
        self.limits = limits
        self.refused = refused
        self.closed: Counter[Reason] = Counter()
        """What we closed, and why."""
        self.leaving = False
        self.heads = Line(limits.header_seconds)
        """For the rest of a request's headers; of a new connection, for its first byte."""
        self.bodies = Line(float("inf"))
        """For the rest of a body. The application limits that time."""
        self.idle = Line(limits.keep_alive_seconds)
        """For another request."""
        self.unread = Line(limits.header_seconds)
        """For the client to read what it was answered."""
        self.parted = Line(min(LINGER_SECONDS, limits.header_seconds))
        """For the client to close, its last answer being sent."""
        self.lines = (self.heads, self.bodies, self.idle, self.unread, self.parted)
        self._tick_seconds = min(0.5, max(0.01, min(line.seconds for line in self.lines) / 8))
        self._open: set[Guest] = set()
        self._timer: asyncio.TimerHandle | None = None
        for reason in get_args(Reason):
            metrics.CONNECTIONS_CLOSED.labels(reason)  # shown from the start, as 0

    @classmethod
    def of(cls, settings: IngestSettings, refused: Callable[[Problem, Reason, str], None] = lambda *_: None) -> Self:
        """Return one for a process with ``settings``, with no more connections than it may open files."""
        limits = ConnectionLimits.of(settings)
        return cls(replace(limits, connections_max=within_open_files(limits.connections_max)), refused)

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, guest: Guest) -> bool:
        """Take ``guest`` in, at the expense of whoever has kept us waiting longest if need be.

        Return whether there is room: False when every other connection is being worked on.
        """
        self._open.add(guest)
        if len(self.parted) > _PARTED_MAX:
            self._evict(self.parted)
        while self._too_many() and (fronts := [line for line in self.lines if line and line is not self.parted]):
            self.count("evicted")
            self._evict(min(fronts, key=lambda line: next(iter(line.values()))))
        metrics.CONNECTIONS.set(len(self._open))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick_seconds, self._sweep)
        return not self._too_many()

    def exit(self, guest: Guest) -> None:
        """``guest`` is gone; whether we knew already makes no difference."""
        self.wait(guest, None)
        self._open.discard(guest)
        metrics.CONNECTIONS.set(len(self._open))

    def wait(self, guest: Guest, line: Line | None) -> None:
        """``guest`` keeps us waiting in ``line`` from now on; one that stands there already keeps its place."""
        if guest.line is line:
            return
        if guest.line is not None:
            del guest.line[guest]
        guest.line = line
        if line is not None:
            line[guest] = time.monotonic()

    def count(self, reason: Reason) -> None:
        """A connection ends by our will, for ``reason``."""
        self.closed[reason] += 1
        metrics.CONNECTIONS_CLOSED.labels(reason).inc()

    def leave(self) -> None:
        """From now on every answer, also to a request already under way, says `Connection: close` and ends its connection.

        Idle ones stay open, since a request may be on its way to us on each.
        """
        self.leaving = True
        for guest in list(self._open):
            guest.leave()

    def _too_many(self) -> bool:
        """Those that have had their last answer do not count: whom we turn away must be left the time to read why."""
        return len(self._open) - len(self.parted) > self.limits.connections_max

    def _evict(self, line: Line) -> None:
        guest = next(iter(line))
        self.wait(guest, None)
        self._open.discard(guest)
        guest.evict()

    def _sweep(self) -> None:
        now = time.monotonic()
        left = _SWEPT_MAX
        for line in self.lines:
            while line and left:
                guest, since = next(iter(line.items()))
                if now - since < line.seconds:
                    break
                left -= 1
                self.wait(guest, None)
                guest.expire(line)
        self._timer = None
        if self._open:
            after = self._tick_seconds if left else 0
            self._timer = asyncio.get_running_loop().call_later(after, self._sweep)


def within_open_files(connections: int) -> int:
    """Return how many of ``connections`` this process may have open; raise its limit of open files towards that first.

    Without this accept() would find the limit, and drop whoever comes; and so would the next connection to Redis.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    generous = connections + _FILES_RESERVED + _ACCEPTED_MAX
    if soft < generous:
        soft = generous if hard == resource.RLIM_INFINITY else min(generous, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = max(soft // 2, soft - _FILES_RESERVED)
    if room >= connections:
        return connections
    log.warning(
        "fewer connections than connections_max: raise the limit of open files (ulimit -n)",
        connections=room,
        connections_max=connections,
        open_files=soft,
    )
    return room
