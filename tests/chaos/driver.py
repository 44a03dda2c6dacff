"""Plays a schedule against a system under traffic, lifts everything, waits until all is quiet, and has it judged."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from redis.exceptions import RedisError

from tests.chaos import faults, feed, handlers, schedule, verdict
from tests.chaos.memory import GATE_BYTES_MAX, MIB
from tests.chaos.provider import Provider
from tests.chaos.schedule import Fault, Step
from tests.chaos.system import LEASE_SECONDS, System, running
from tests.chaos.verdict import Verdict
from tests.chaos.watch import Watch
from tidegate.embedded import PostgresServer, RedisServer

STUCK_SECONDS = 3.0
"""How long the traffic may stand still before a fault strikes all the same: the one before may have stopped it."""
QUIET_SECONDS = 150.0
"""How long the end may take with nothing settled or accepted at all, until it is given up."""
BACKLOG_MAX = 5000
CATCH_UP_SECONDS = 15.0
FAULTS_SHARE = 0.85
"""Of the minutes: what is left is for settling."""
LOOK_SECONDS = 0.02
ENDS = {
    0: "stopped in order",
    3: "a server was away at its start, or too long",
    handlers.DEADLY_EXIT_CODE: "a deadly event",
}
"""With which exit codes a process may end by itself."""
ANSWERS = {
    "202": "accepted",
    "401": "signed too long ago, or too far ahead: the gate's clock is stepped",
    "503": "nothing can be made durable, or there is too much, or the gate leaves",
}
"""What a gate may answer to events that are all authentic and well-formed, from a client that does not dawdle."""


@dataclass(frozen=True, slots=True)
class Options:
    """What makes a run: the same options give the same schedule and traffic."""

    events: int
    faults: int
    seed: int
    minutes: float
    workers: int = 3
    gates: int = 2
    pairs: float = 0.3
    hold: float = 1.0


@dataclass(slots=True)
class Progress:
    """How far it is. ``phase`` is for a person."""

    phase: str
    posts: int
    posts_all: int
    faults: int
    faults_all: int
    left: int
    """Deliveries on the streams."""


@dataclass(slots=True)
class Result:
    """Everything the table shows."""

    options: Options
    verdict: Verdict
    watch: Watch
    provider: Provider
    struck: Counter[str]
    seconds: float
    worker_bytes_max: int
    gate_bytes_max: int
    ended: list[tuple[str, int]] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.verdict.problems


class Driver:
    """One run. ``say`` gets a line for each thing worth one, ``show`` the progress several times a second."""

    def __init__(
        self, options: Options, system: System, say: Callable[[str], None], show: Callable[[Progress], None]
    ) -> None:
        self.options = options
        self.system = system
        self._started = time.monotonic()
        self._say_plain = say
        self._show = show
        self._provider = Provider(system.gate_urls, system.settings, seed=options.seed)
        self._watch = Watch(system, self._provider, self._say)
        self._struck: Counter[str] = Counter()
        self._phase = "sending"

    def _say(self, text: str) -> None:
        self._say_plain(f"{time.monotonic() - self._started:7.1f} s  {text}")

    async def run(self) -> Result:
        """Return what came of it. Whatever is under way ends with it."""
        made = await asyncio.to_thread(feed.make, self.options.events, seed=self.options.seed)
        steps = schedule.make(
            self.options.faults,
            seed=self.options.seed,
            lease_seconds=LEASE_SECONDS,
            pairs=self.options.pairs,
            hold=self.options.hold,
        )
        provider = self._provider
        self._say(
            f"{made.events} events in {len(made.posts)} posts, {self.options.faults} faults in {len(steps)} steps"
        )
        async with asyncio.TaskGroup() as group:  # a supervisor that fails must not leave a run without one
            background = [
                group.create_task(self.system.processes.supervise()),
                group.create_task(self._watch.run()),
                group.create_task(self._report(provider, len(made.posts))),
            ]
            sending = group.create_task(provider.send(made.posts))
            in_time = await self._play(steps, provider, len(made.posts))
            quiet = await self._wait_for_quiet(provider, sending)
            found = await verdict.judge(self.system, provider, made)
            for task in (*background, sending):
                task.cancel()
        if not in_time:
            found.problems.insert(0, f"only {self._watch.struck} of {self.options.faults} faults struck in time")
        if not quiet:
            found.problems.insert(
                0,
                f"not quiet in time: {provider.answered} of {len(made.posts)} posts accepted, {self._watch.backlog} on "
                f"the events streams, {self._watch.retries} waiting for a retry; what follows may be due to that",
            )
        found.problems += self._wrong_with_gates()
        crashed = [f"{name} with {code}" for name, code in self.system.processes.ended if code not in ENDS]
        if crashed:
            found.problems.append(f"{len(crashed)} processes ended by themselves: {', '.join(crashed)}")
        return Result(
            self.options,
            found,
            self._watch,
            provider,
            self._struck,
            time.monotonic() - self._started,
            self.system.processes.worker_bytes_max,
            self.system.processes.gate_bytes_max,
            self.system.processes.ended,
        )

    def _wrong_with_gates(self) -> list[str]:
        provider, watch, held = self._provider, self._watch, self.system.processes.gate_bytes_max
        odd = sorted(
            {status for status in provider.answers if status.isdecimal()} - ANSWERS.keys() | provider.odd.keys()
        )
        untried = {"redis", "postgres"} - provider.tiers.keys() if self.options.faults >= len(schedule.KINDS) else set()
        unheard = self._struck["Redis and Postgres away"] and not watch.told_503
        wrong = {
            f"answers nobody should get: {', '.join(odd)}": odd,
            f"202s of a tier nobody knows: {provider.tiers}": provider.tiers.keys() - {"redis", "postgres"},
            f"no 202 of a tier that should have been tried: {', '.join(sorted(untried))}": untried,
            f"{watch.told_202} times 202 while neither Redis nor Postgres could keep anything": watch.told_202,
            "no 503 while neither Redis nor Postgres could keep anything: it was not tried": unheard,
            f"{watch.reloads_broken} connections refused or broken off by a gate that was reloaded": watch.reloads_broken,
            f"a gate process held {held / MIB:.1f} MiB, above {GATE_BYTES_MAX / MIB:.0f}": held > GATE_BYTES_MAX,
        }
        return [text for text, is_wrong in wrong.items() if is_wrong]

    async def _play(self, steps: Sequence[Step], provider: Provider, posts: int) -> bool:
        """Let the traffic of each step flow and the step strike in it; return whether all did within the time."""
        deadline = self._started + self.options.minutes * 60 * FAULTS_SHARE
        begin = 0
        for number, step in enumerate(steps):
            if time.monotonic() > deadline:
                provider.allow(posts)
                return False
            end = posts * (number + 1) // len(steps)
            if any(fault.kind.gates_up for fault in step.faults):
                await self.system.processes.all_live(self.system.processes.gates)
            provider.allow(end)
            await self._until_answered(provider, begin + step.at * (end - begin))
            await self._until_caught_up()
            async with AsyncExitStack() as struck:
                for fault in step.faults:
                    await struck.enter_async_context(self._struck_by(fault))
                await asyncio.sleep(max(fault.seconds for fault in step.faults))
            begin = end
        provider.allow(posts)
        return True

    @asynccontextmanager
    async def _struck_by(self, fault: Fault) -> AsyncIterator[None]:
        self._watch.striking += 1
        self._watch.struck += 1
        self._struck[fault.kind.name] += 1
        self._say(f"{fault.kind.name} ({fault.seconds:.1f} s)")
        try:
            async with faults.making(fault)(self.system, self._watch, fault):
                yield
        finally:
            self._watch.striking -= 1

    async def _until_answered(self, provider: Provider, posts: float) -> None:
        """Return when so many posts are answered, or the traffic stands still."""
        last, moved_at = provider.answered, time.monotonic()
        while provider.answered < posts and time.monotonic() - moved_at < STUCK_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
            if provider.answered != last:
                last, moved_at = provider.answered, time.monotonic()

    async def _until_caught_up(self) -> None:
        """Return when the backlog is small enough: behind a large one no fault is seen to do harm, or takeovers to be late."""
        until = time.monotonic() + CATCH_UP_SECONDS
        while self._watch.backlog > BACKLOG_MAX and time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)

    async def _wait_for_quiet(self, provider: Provider, sending: asyncio.Task[None]) -> bool:
        """Return whether everything was accepted, and streams and inbox are empty, before nothing moved for too long."""
        self._say("all faults are lifted; waiting until everything is accepted, and streams and inbox are empty")
        self._phase = "settling"
        last: tuple[int, int] = (0, 0)
        moved_at = time.monotonic()
        until = self._started + self.options.minutes * 60
        while time.monotonic() < min(until, moved_at + QUIET_SECONDS):
            try:
                left = await self.system.boxed()  # first: what leaves it is on a stream
                left += sum(state.events + state.retry for state in await self._watch.states())
                if sending.done() and not left:
                    return True
            except (RedisError, psycopg.Error, OSError):
                pass
            now = (provider.answered, self._watch.settled)
            if now != last:
                last, moved_at = now, time.monotonic()
            await asyncio.sleep(0.1)
        return False

    async def _report(self, provider: Provider, posts: int) -> None:
        while True:
            left = self._watch.backlog + self._watch.retries
            self._show(Progress(self._phase, provider.answered, posts, self._watch.struck, self.options.faults, left))
            await asyncio.sleep(0.2)


async def play(
    options: Options,
    folder: Path,
    redis: RedisServer,
    postgres: PostgresServer,
    *,
    say: Callable[[str], None],
    show: Callable[[Progress], None] = lambda progress: None,
) -> Result:
    """Run once on two started servers, with all files in ``folder``."""
    async with running(folder, redis, postgres, gates=options.gates, workers=options.workers) as system:
        return await Driver(options, system, say, show).run()
