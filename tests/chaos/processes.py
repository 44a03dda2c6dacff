"""Gates and workers as real processes, and the supervisor that starts them again when they have ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.chaos.memory import family, rss_bytes
from tidegate.cli.stack import Process
from tidegate.serving import listen

AGAIN_SECONDS = 0.3
"""How long after its end a process is started again, and how often one looks."""
STOP_SECONDS = 30.0


@dataclass(slots=True)
class Place:
    """Where one process of the fleet runs: its words, its port, its clock; and the process that is there now."""

    name: str
    words: Sequence[str]
    port: int
    clock: Path
    process: Process
    meant_to_end: bool = False

    def signal(self, number: int) -> None:
        """Send the process that is there now a signal; nothing happens when it has just ended."""
        if self.process.alive:
            with contextlib.suppress(ProcessLookupError):
                self.process.signal(number)

    def step_clock(self, seconds: float) -> None:
        """Make its clock run ``seconds`` ahead of ours, from now on."""
        with self.clock.open("r+b") as file:  # in place: the process has it mapped
            file.write(struct.pack("d", seconds))


@dataclass(slots=True)
class Processes:
    """The fleet. ``python`` are the words that begin every command line; ``environment`` is theirs alone."""

    folder: Path
    python: Sequence[str]
    environment: dict[str, str]
    gates: list[Place] = field(default_factory=list)
    workers: list[Place] = field(default_factory=list)
    ended: list[tuple[str, int]] = field(default_factory=list)
    """Those that ended by themselves, with their exit codes."""
    rss_bytes_max: int = 0
    """The most that any worker held."""
    gate_bytes_max: int = 0
    """The most that any gate process held, as the kernel remembers it."""
    _all: list[Process] = field(default_factory=list)

    def start_gate(self, port: int) -> None:
        words = ("ingest", "--host", "127.0.0.1", "--port", str(port))
        self.gates.append(self._place(f"gate-{len(self.gates) + 1}", words, port))

    def start_worker(self) -> None:
        port = free_port()
        words = ("consume", "--metrics-port", str(port))
        self.workers.append(self._place(f"worker-{len(self.workers) + 1}", words, port))

    def wait_ready(self) -> None:
        """Return when all answer their health endpoints; raises UnreachableError."""
        for place in (*self.gates, *self.workers):
            place.process.wait_ready()

    def _place(self, name: str, words: Sequence[str], port: int) -> Place:
        clock = self.folder / f"{name}.clock"
        clock.write_bytes(struct.pack("d", 0.0))
        return Place(name, words, port, clock, self._start(name, words, port, clock))

    def _start(self, name: str, words: Sequence[str], port: int, clock: Path) -> Process:
        variables = [f"{key}={value}" for key, value in {**self.environment, "CHAOS_CLOCK": str(clock)}.items()]
        process = Process(name, ["env", *variables, *self.python, *words], self.folder, health_port=port)
        self._all.append(process)
        return process

    async def supervise(self) -> None:
        """Start again what has ended, and look at what the others hold in memory, until cancelled."""
        while True:
            for place in (*self.gates, *self.workers):
                if not place.process.alive:
                    if not place.meant_to_end:
                        self.ended.append((place.name, place.process.exit_code or 0))
                    place.meant_to_end = False
                    # The guard's start is short, but its answer is waited for.
                    place.process = await asyncio.to_thread(
                        self._start, place.name, place.words, place.port, place.clock
                    )
            for place in self.workers:
                try:
                    self.rss_bytes_max = max(self.rss_bytes_max, psutil.Process(place.process.pid).memory_info().rss)
                except psutil.NoSuchProcess:
                    continue
            for place in self.gates:
                for pid in family(place.process.pid):
                    self.gate_bytes_max = max(self.gate_bytes_max, rss_bytes(pid)[1])
            await asyncio.sleep(AGAIN_SECONDS)

    async def terminate(self, place: Place) -> bool:
        """SIGTERM; return once it has ended, whether within its time."""
        victim, deadline = place.process, time.monotonic() + STOP_SECONDS
        place.meant_to_end = True
        place.signal(signal.SIGTERM)
        while victim.alive and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return not victim.alive

    def kill(self, place: Place) -> None:
        """SIGKILL."""
        place.meant_to_end = True
        place.signal(signal.SIGKILL)

    def stop(self) -> None:
        """End all that still live, those that were stopped too."""
        for process in self._all:
            if process.alive:
                with contextlib.suppress(ProcessLookupError):
                    process.signal(signal.SIGCONT)
                    process.signal(signal.SIGTERM)
        for process in self._all:
            process.stop()


def free_port() -> int:
    """Return a port nobody listens on now."""
    with listen("127.0.0.1", 0) as listener:
        port: int = listener.getsockname()[1]
    return port
