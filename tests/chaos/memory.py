"""How much memory processes hold, and the most they ever held: sampled, and as the kernel remembers it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil  # type: ignore[import-untyped]

MIB = 1 << 20
GATE_BYTES_MAX = 120 * MIB
"""What no gate process may exceed, whatever is done to it."""
EVERY_SECONDS = 0.1


def family(pid: int) -> list[int]:
    """Return ``pid`` and the processes it has made, those that live."""
    try:
        parent = psutil.Process(pid)
        return [pid, *(child.pid for child in parent.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def rss_bytes(pid: int) -> tuple[int, int]:
    """Return what the process holds, and the most it has held so far; zeros when it is gone.

    Linux remembers the most exactly. Elsewhere both are the same, and only as good as one looks often.
    """
    try:
        words = Path(f"/proc/{pid}/status").read_text().split()
        held, most = (int(words[words.index(name) + 1]) << 10 for name in ("VmRSS:", "VmHWM:"))
        return held, most
    except ProcessLookupError:
        return 0, 0
    except (OSError, ValueError):  # no /proc; or a zombie, which has no memory
        try:
            held = psutil.Process(pid).memory_info().rss
        except psutil.Error:
            return 0, 0
        return held, held


class Memory:
    """Samples processes while entered, ten times a second, from a thread of its own: a busy event loop would miss peaks."""

    def __init__(self, pids: Callable[[], Sequence[int]]) -> None:
        self.base_bytes = 0
        """The most that any of them held at the first look."""
        self.peak_bytes = 0
        self.peaks_bytes: dict[str, int] = {}
        """The most that any of them held in each phase."""
        self.samples = 0
        self.phase = ""
        """Written by whoever knows what goes on."""
        self.seconds = 0.0
        self._pids = pids
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self.base_bytes = max(rss_bytes(pid)[0] for pid in self._pids())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        started = time.monotonic()
        while not self._ending.wait(EVERY_SECONDS):
            phase = self.phase
            for pid in self._pids():
                held, most = rss_bytes(pid)
                self.peak_bytes = max(self.peak_bytes, most)
                self.peaks_bytes[phase] = max(self.peaks_bytes.get(phase, 0), held)
            self.samples += 1
            self.seconds = time.monotonic() - started
