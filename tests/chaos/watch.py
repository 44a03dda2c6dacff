"""What is measured while it runs: how long nothing was settled, and how soon others took over from the dead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from tests.chaos.provider import Provider
from tests.chaos.system import System
from tidegate.ledger import OUT
from tidegate.stream import ShardState
from tidegate.stream.calls import command
from tidegate.stream.keys import GROUP

LOOK_SECONDS = 0.25
TAKEOVER_SECONDS_MAX = 30.0

Held = tuple[str, bytes]
"""An entry: the key of its stream, and its id."""


@dataclass(slots=True)
class Watch:
    """Looks at ``system`` past the proxies. What ``provider`` is answered tells who keeps a promise at that moment."""

    system: System
    provider: Provider
    say: Callable[[str], None]
    settled: int = 0
    retries: int = 0
    """Deliveries waiting for their retry at the last look."""
    backlog: int = 0
    stall_seconds_max: float = 0.0
    """The longest that something waited to be applied and nothing was."""
    takeovers: list[float] = field(default_factory=list)
    """Seconds from a SIGKILL until nothing the dead worker held was left on the stream."""
    disturbed: int = 0
    """Takeovers that another fault fell into: their time says nothing of the promise."""
    zombies: int = 0
    zombies_robbed: int = 0
    """Those that had held something when they were stopped, and nothing of it when they woke."""
    told_503: int = 0
    """Answers while nothing could be made durable anywhere."""
    told_202: int = 0
    """Likewise: each is a lie."""
    reloads: int = 0
    reloads_broken: int = 0
    """Connections that a gate refused or broke off while it was only to read its settings again."""
    striking: int = 0
    """Faults under way."""
    struck: int = 0
    """Faults so far."""
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep ``text`` for the end."""
        self.notes.append(text)
        self.say(text)

    async def run(self) -> None:
        """Look until cancelled."""
        moved_at = time.monotonic()
        while True:
            try:
                states = await self.states()
            except (RedisError, OSError):
                states = []
            now = time.monotonic()
            if states:
                settled = sum(value for state in states for (name, _), value in state.ledger.items() if name in OUT)
                self.backlog = sum(state.events for state in states)
                self.retries = sum(state.retry for state in states)
                if settled != self.settled or not self.backlog:
                    self.settled, moved_at = settled, now
            self.stall_seconds_max = max(self.stall_seconds_max, now - moved_at)
            await asyncio.sleep(LOOK_SECONDS)

    async def states(self) -> list[ShardState]:
        """Return a look at every shard."""
        stream = self.system.stream
        return [await stream.audit(shard) for shard in range(len(stream.keys))]

    async def held_by(self, pid: int) -> list[Held]:
        """Return what is pending for the consumer of the worker with this process id."""
        held: list[Held] = []
        for keys in self.system.stream.keys:
            page = await command(self.system.stream.client, "XPENDING", keys.events, GROUP, "-", "+", 5000)
            held += [(keys.events, item[0]) for item in page if f"-{pid}-".encode() in item[1]]
        return held

    async def takeover(self, name: str, held: Sequence[Held]) -> None:
        """Measure until nothing of ``held`` is left on the events stream: settled by somebody else."""
        started, struck = time.monotonic(), self.struck
        left = list(held)
        while left and time.monotonic() - started < TAKEOVER_SECONDS_MAX:
            await asyncio.sleep(0.05)
            try:
                left = await self._still_there(left)
            except (RedisError, OSError):
                continue
        seconds = time.monotonic() - started
        if not held:
            return
        if self.striking > 1 or self.struck != struck:
            self.disturbed += 1
        else:
            self.takeovers.append(seconds)
        self.say(f"{name} was killed with {len(held)} entries in hand; {len(left)} left after {seconds:.1f} s")

    async def _still_there(self, held: Sequence[Held]) -> list[Held]:
        async with self.system.stream.client.pipeline(transaction=False) as pipe:
            for key, entry_id in held:
                pipe.xrange(key, entry_id, entry_id)
            found = await pipe.execute()
        return [item for item, there in zip(held, found, strict=True) if there]
