"""A gate with its default limits is offered ten times what it may take, and more, while Redis is away half of the time.

What must hold: it stays below 120 MiB, answers /livez, and says nothing but 202, 503 with Retry-After, 408 and 413; and in the
end everything it answered 202 is applied once. The workers are slow on purpose: little room is left all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from redis.exceptions import RedisError

from dlq.audit import take
from tests.chaos import slow
from tests.chaos.crowd import CrowdProcess, Order
from tests.chaos.memory import GATE_BYTES_MAX, MIB, Memory, family
from tidegate import postgres
from tidegate.cli.demo_sources import DemoSources
from tidegate.cli.stack import Stack
from tidegate.embedded import PostgresServer, RedisServer
from tidegate.settings import PostgresSettings
from tidegate.stream import Stream, connect

ROOT = Path(__file__).parents[2]
TIMES = 10
"""How often what is taken must have been offered."""
CLIENTS = 300
LIVEZ_EVERY_SECONDS = 0.25
BATCH_SECONDS = 2.0
QUIET_SECONDS = 180.0
LOOK_SECONDS = 0.2
SHOWN = 5
MEANT = {
    "202 redis": "durable in Redis",
    "202 postgres": "durable in the inbox",
    "408 too-slow": "a client that dawdled on purpose",
    "408 too-slow, to a sender": "the oldest of the half-received bodies, when they were too many bytes together",
    "413 too-large": "more than body_bytes_max, announced or not",
    "503 backlog-full": "no room here, on the stream or in the inbox",
    "503 not-durable": "neither Redis nor Postgres took it",
    "503 too-many-connections": "everybody else is being served",
}
"""The answers a gate may give here; a 503 without Retry-After is called otherwise."""


@dataclass(frozen=True, slots=True)
class Options:
    """What makes a run. Of [ingest] only the rows of the inbox are set: room there is as scarce as on the stream."""

    minutes: float
    seed: int
    clients: int = CLIENTS
    crowds: int = 2
    """Processes the clients are spread over."""
    backlog_max: int = 1500
    inbox_rows_max: int = 500
    event_seconds: float = 0.02
    """What each event costs the handlers; two batches are in work at once."""
    phase_seconds: tuple[float, float] = (10.0, 20.0)
    """From how long to how long Redis is away, or there."""
    livez_seconds_max: float = 2.0


@dataclass(slots=True)
class Result:
    """What was seen. `problems` says what of it is wrong."""

    options: Options
    memory: Memory
    answers: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    accepted: set[str] = field(default_factory=set)
    livez_seconds: list[float] = field(default_factory=list)
    livez_failed: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    """Of each phase."""
    gate_ended: str = ""
    quiet: bool = False
    stored: Counter[str] = field(default_factory=Counter)
    """By event, how often its effect is there."""
    letters: int = 0
    audit: dict[str, Any] = field(default_factory=dict)
    tracebacks: list[str] = field(default_factory=list)

    @property
    def taken(self) -> int:
        return sum(count for said, count in self.answers.items() if said.startswith("202 "))

    @property
    def times(self) -> float:
        """How often what was taken was offered."""
        return sum(self.answers.values()) / max(1, self.taken)

    @property
    def away_share(self) -> float:
        return 1 - self.seconds.get("Redis well", 0.0) / max(0.001, sum(self.seconds.values()))

    @property
    def problems(self) -> list[str]:
        """Return what was promised and not kept, or not tried; empty when all is well."""
        odd = {said: count for said, count in self.answers.items() if said not in MEANT}
        untried = [said for said in ("202 redis", "202 postgres", "503 backlog-full") if not self.answers[said]]
        refused = sum(count for how, count in self.ends.items() if how.endswith("refused"))
        unheard = self.ends["sender: no answer"]
        lost = [name for name in self.accepted if name not in self.stored]
        doubled = [name for name, count in self.stored.items() if count > 1]
        unaccounted = self.audit.get("unaccounted", "?")
        boxed = self.audit.get("inbox", {}).get("counted_rows", "?")
        slowest = max(self.livez_seconds, default=0.0)
        rate = self.memory.samples / max(0.001, self.memory.seconds)
        wrong = {
            f"a gate process held {self.memory.peak_bytes / MIB:.1f} MiB, above {GATE_BYTES_MAX / MIB:.0f}": (
                self.memory.peak_bytes > GATE_BYTES_MAX
            ),
            f"memory was looked at only {rate:.1f} times a second": rate < 5,
            f"answers nobody should get: {odd}": odd,
            f"never answered: {', '.join(untried)}": untried,
            f"only {self.times:.1f} times what was taken was offered": self.times < TIMES,
            f"{refused} connections were refused": refused,
            f"{unheard} senders got no answer": unheard,
            f"/livez took {slowest:.1f} s": slowest > self.options.livez_seconds_max,
            f"/livez failed: {self.livez_failed[:SHOWN]}": self.livez_failed,
            f"the gate ended: {self.gate_ended}": self.gate_ended,
            "not quiet in time; what follows may be due to that": not self.quiet,
            f"{len(lost)} of {len(self.accepted)} accepted events are lost: {lost[:SHOWN]}": lost,
            f"{len(doubled)} effects happened twice: {doubled[:SHOWN]}": doubled,
            f"{self.letters} letters": self.letters,
            f"tidegate audit: {unaccounted} unaccounted": unaccounted != 0,
            f"{boxed} events are left in the inbox": boxed != 0,
            f"tracebacks in the logs: {self.tracebacks[:SHOWN]}": self.tracebacks,
        }
        return [text for text, is_wrong in wrong.items() if is_wrong]


class Overload:
    """One run over two started servers. ``say`` gets a line for each thing worth one."""

    def __init__(
        self,
        options: Options,
        folder: Path,
        redis: RedisServer,
        database: PostgresServer,
        say: Callable[[str], None],
    ) -> None:
        self._options = options
        self._folder = folder
        self._redis = redis
        self._database = database
        self._sources = DemoSources()
        self._brake = folder / "brake"
        self._started = time.monotonic()
        self._say_plain = say
        words = [
            "env",
            f"PYTHONPATH={ROOT}",
            f"OVERLOAD_BRAKE={self._brake}",
            sys.executable,
            "-m",
            "tidegate",
        ]
        self._stack = Stack(
            folder / "stack",
            settings_text=self._settings,
            redis_url=redis.url,
            postgres_url=database.url,
            workers=1,
            python=words,
            console_port=None,
        )
        self._result = Result(options, Memory(self._gate_pids))

    def _settings(self, gate_url: str) -> str:
        options = self._options
        return f"""\
[stream]
backlog_max = {options.backlog_max}

[ingest]
inbox_rows_max = {options.inbox_rows_max}

[consumer]
handlers = "tests.chaos.slow:handlers"
batch = {max(1, round(BATCH_SECONDS / options.event_seconds))}

{self._sources.toml(gate_url)}"""

    def _gate_pids(self) -> Sequence[int]:
        return family(self._stack.gate.pid)

    def _say(self, text: str) -> None:
        self._say_plain(f"{time.monotonic() - self._started:7.1f} s  {text}")

    async def run(self) -> Result:
        """Return what came of it. Everything but the two servers ends with it."""
        self._brake.write_text(str(self._options.event_seconds))
        with contextlib.ExitStack() as ending:
            await asyncio.to_thread(ending.enter_context, self._stack)
            with psycopg.connect(self._database.url, autocommit=True) as connection:
                connection.execute(slow.SCHEMA.encode())
            with self._result.memory:
                await self._overload()
                await self._settle()
            await self._read()
            if not self._stack.gate.alive:
                self._result.gate_ended = f"exit {self._stack.gate.exit_code}"
            await asyncio.to_thread(ending.close)
        self._result.tracebacks = [
            f"{path.name}: {line[:300]}"
            for path in sorted(self._stack.folder.glob("*.log"))
            for line in path.read_text("utf-8", "replace").splitlines()
            if "Traceback (most recent call last)" in line
        ]
        return self._result

    async def _overload(self) -> None:
        options, result = self._options, self._result
        orders = [
            Order(
                int(self._stack.gate_url.rpartition(":")[2]),
                self._sources.lemlist,
                f"c{number}",
                options.seed * 100 + number,
                options.clients // options.crowds,
            )
            for number in range(options.crowds)
        ]
        crowds = [await CrowdProcess.start(order) for order in orders]
        looking = asyncio.create_task(self._look_at_livez())
        try:
            for what, seconds in phases(options):
                await self._phase(what, seconds, crowds)
        finally:
            looking.cancel()
            result.memory.phase = "settling"
            for crowd in crowds:
                await crowd.stop()
                result.answers += crowd.answers
                result.ends += crowd.ends
                result.accepted |= crowd.accepted

    async def _phase(self, what: str, seconds: float, crowds: Sequence[CrowdProcess]) -> None:
        before = sum((crowd.answers for crowd in crowds), Counter[str]())
        self._result.memory.phase = what
        started = time.monotonic()
        with self._away(what):
            for crowd in crowds:
                crowd.press_on()
            await asyncio.sleep(seconds)
        if what == "Redis killed":
            await asyncio.to_thread(self._redis.start)
        spent = self._result.seconds
        spent[what] = spent.get(what, 0.0) + time.monotonic() - started
        now = sum((crowd.answers for crowd in crowds), Counter[str]()) - before
        held = self._result.memory.peaks_bytes.get(what, 0) / MIB
        told = ", ".join(f"{count} x {said}" for said, count in sorted(now.items()))
        self._say(f"{what} for {seconds:.0f} s: {told}; peak so far {held:.0f} MiB")

    @contextlib.contextmanager
    def _away(self, what: str) -> Iterator[None]:
        if what == "Redis killed":
            self._redis.kill()
        elif what == "Redis stalled":
            os.kill(self._redis.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            if what == "Redis stalled":
                os.kill(self._redis.pid, signal.SIGCONT)

    async def _look_at_livez(self) -> None:
        def ask() -> None:
            with urllib.request.urlopen(f"{self._stack.gate_url}/livez", timeout=10):
                pass

        while True:
            started = time.monotonic()
            try:
                await asyncio.to_thread(ask)
                self._result.livez_seconds.append(time.monotonic() - started)
            except OSError as error:
                self._result.livez_failed.append(f"after {started - self._started:.0f} s: {error}")
            await asyncio.sleep(LIVEZ_EVERY_SECONDS)

    async def _settle(self) -> None:
        """Let the workers go as fast as they can, until all they were left is done."""
        self._say("the load is gone; waiting until everything is applied")
        self._brake.unlink()
        client = connect(self._redis.url, timeout_seconds=5)
        stream = Stream(client, prefix="tg", shards=1)
        deadline = time.monotonic() + QUIET_SECONDS
        async with postgres.pool(self._database.url, PostgresSettings(), "overload", max_size=1) as pool:
            while time.monotonic() < deadline and not self._result.quiet:
                with contextlib.suppress(RedisError, OSError, psycopg.Error):
                    async with pool.connection() as connection:
                        audit = await take(stream, connection)
                    self._result.audit = audit.as_dict()
                    left = audit.balance.waiting + audit.balance.retrying + audit.stored.inbox.counted_rows
                    self._result.quiet = not left
                await asyncio.sleep(LOOK_SECONDS)
        await client.aclose()

    async def _read(self) -> None:
        async with await psycopg.AsyncConnection.connect(self._database.url) as connection:
            rows = await connection.execute("SELECT provider_event_id, count(*) FROM effects GROUP BY 1")
            self._result.stored = Counter(dict(await rows.fetchall()))
            rows = await connection.execute("SELECT count(*) FROM dead_letters")
            self._result.letters = (await rows.fetchone() or (0,))[0]


def phases(options: Options) -> list[tuple[str, float]]:
    """Return what happens to Redis, and for how long; it is there in between, and at the end. Pure.

    It is away first: later there is hardly any room, and the inbox would be asked only when nobody knows that any more.
    """
    chance = random.Random(options.seed)
    left, found = options.minutes * 60, list[tuple[str, float]]()
    for what in _in_turn():
        seconds = min(left, chance.uniform(*options.phase_seconds))
        found.append((what, seconds))
        left -= seconds
        if left <= 0:
            return found if what == "Redis well" else [*found, ("Redis well", options.phase_seconds[0] / 2)]
    raise AssertionError("it goes on for ever")


def _in_turn() -> Iterator[str]:
    while True:
        yield from ("Redis killed", "Redis well", "Redis stalled", "Redis well")
