"""Gates and workers as real processes, and the supervisor that starts them again when they have ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import struct
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.memory import family, rss_bytes
from tidegate.cli.stack import Process
from tidegate.embedded.ports import is_free
from tidegate.serving import listen

AGAIN_SECONDS = 0.3
"""How long after its end a process is started again, and how often one looks."""
STOP_SECONDS = 30.0
VACATED_SECONDS = 15.0


@dataclass(slots=True)
class Place:
    """Where one process of the fleet runs: its words, its port, its clock; and the process that is there now."""

    name: str
    words: Sequence[str]
    port: int
    clock: Path
    process: Process
    processes: int = 1
    """That work there; where they are several, ``process`` is their supervisor."""
    meant_to_end: bool = False
    ended_at: float | None = None

    @property
    def pids(self) -> list[int]:
        """Those that live, the supervisor first if there is one."""
        return family(self.process.pid) if self.processes > 1 else [self.process.pid]

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
    worker_bytes_max: int = 0
    """The most memory that any worker held."""
    gate_bytes_max: int = 0
    """The most that any process of a gate held."""
    _all: list[Process] = field(default_factory=list)

    def start_gate(self, port: int, *, processes: int) -> None:
        words = ("ingest", "--host", "127.0.0.1", "--port", str(port), "--workers", str(processes))
        self.gates.append(self._place(f"gate-{len(self.gates) + 1}", words, port, processes))

    def start_worker(self) -> None:
        port = free_port()
        words = ("consume", "--metrics-port", str(port))
        self.workers.append(self._place(f"worker-{len(self.workers) + 1}", words, port))

    def wait_ready(self) -> None:
        """Return when all answer their health endpoints; raises UnreachableError."""
        for place in (*self.gates, *self.workers):
            place.process.wait_ready()

    def _place(self, name: str, words: Sequence[str], port: int, processes: int = 1) -> Place:
        clock = self.folder / f"{name}.clock"
        clock.write_bytes(struct.pack("d", 0.0))
        return Place(name, words, port, clock, self._start(name, words, port, clock), processes)

    def _start(self, name: str, words: Sequence[str], port: int, clock: Path) -> Process:
        variables = [f"{key}={value}" for key, value in {**self.environment, "CHAOS_CLOCK": str(clock)}.items()]
        process = Process(name, ["env", *variables, *self.python, *words], self.folder, health_port=port)
        self._all.append(process)
        return process

    async def supervise(self) -> None:
        """Start again what has ended, and look at everybody's memory, until cancelled."""
        while True:
            for place in (*self.gates, *self.workers):
                if not place.process.alive and self._is_vacated(place):
                    if not place.meant_to_end:
                        self.ended.append((place.name, place.process.exit_code or 0))
                    place.meant_to_end = False
                    # The guard's start is short, but its answer is waited for.
                    place.process = await asyncio.to_thread(
                        self._start, place.name, place.words, place.port, place.clock
                    )
            for place in self.workers:
                self.worker_bytes_max = max(self.worker_bytes_max, rss_bytes(place.process.pid)[1])
            for place in self.gates:
                self.gate_bytes_max = max(self.gate_bytes_max, *(rss_bytes(pid)[1] for pid in place.pids), 0)
            await asyncio.sleep(AGAIN_SECONDS)

    def _is_vacated(self, place: Place) -> bool:
        """Tell whether nobody listens there any more: the processes of a supervisor that was killed leave by themselves.

        Who does not leave for too long is in the way of the next, and that is seen: it cannot listen, and ends.
        """
        if place.processes == 1 or is_free(place.port):
            place.ended_at = None
            return True
        place.ended_at = place.ended_at or time.monotonic()
        return time.monotonic() - place.ended_at > VACATED_SECONDS

    async def all_live(self, places: Sequence[Place]) -> None:
        """Return once all of ``places`` answer /livez, or have taken too long."""

        def answers(place: Place) -> bool:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{place.process.health_url}/livez", timeout=2):
                return True
            return False

        deadline = time.monotonic() + STOP_SECONDS
        for place in places:
            while not await asyncio.to_thread(answers, place) and time.monotonic() < deadline:
                await asyncio.sleep(0.05)

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
