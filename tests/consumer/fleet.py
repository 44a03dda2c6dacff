"""Real workers as processes, and somebody who starts another when one has died."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil  # type: ignore[import-untyped]

from tidegate.cli.stack import Process
from tidegate.serving import listen

REPOSITORY = Path(__file__).parents[2]


class Fleet:
    """``size`` workers over given servers. ``toml`` is added to their settings. Without ``ready`` they may die at once."""

    def __init__(
        self,
        folder: Path,
        *,
        redis_url: str,
        postgres_url: str,
        prefix: str,
        toml: str = "",
        size: int = 2,
        ready: bool = True,
    ) -> None:
        self.workers: list[Process] = []
        self.deaths = 0
        self.peak_bytes = 0
        """The most memory any worker was seen to hold."""
        self._folder = folder
        self._size = size
        self._ready = ready
        self._numbered = 0
        self._open = ExitStack()
        self._config = folder / "tidegate.toml"
        self._config.write_text(
            f'redis_url = "{redis_url}"\npostgres_url = "{postgres_url}"\nlog_format = "json"\n'
            f'[stream]\nprefix = "{prefix}"\nshards = 2\n{toml}'
        )

    def __enter__(self) -> Self:
        for _ in range(self._size):
            self.add()
        try:
            for worker in self.workers if self._ready else ():
                worker.wait_ready()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def add(self) -> Process:
        """Start one more."""
        self._numbered += 1
        with listen("127.0.0.1", 0) as listener:
            port: int = listener.getsockname()[1]
        words = [sys.executable, "-m", "tidegate", "-c", str(self._config), "consume", "--metrics-port", str(port)]
        worker = Process(f"worker-{self._numbered}", words, self._folder, health_port=port)
        self._open.callback(worker.stop)
        self.workers.append(worker)
        return worker

    def supervise(self) -> None:
        """Replace those that died, as a service manager would, and look at the memory of the others."""
        for worker in [worker for worker in self.workers if not worker.alive]:
            self.deaths += 1
            self.workers.remove(worker)
            self.add()
        for worker in self.workers:
            try:
                self.peak_bytes = max(self.peak_bytes, psutil.Process(worker.pid).memory_info().rss)
            except psutil.NoSuchProcess:
                continue

    def logs(self) -> str:
        """Return what all of them ever said."""
        return "".join(path.read_text("utf-8", "replace") for path in sorted(self._folder.glob("worker-*.log")))
