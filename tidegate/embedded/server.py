"""What the embedded servers have in common: start, wait until ready, stop, kill, restart."""

from __future__ import annotations

import os
import signal
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self, TypeVar

from tidegate.embedded.folder import Folder
from tidegate.embedded.ports import free_port, is_free
from tidegate.embedded.process import Command, GuardedProcess
from tidegate.errors import UnreachableError

_T = TypeVar("_T")

_POLL_SECONDS = 0.02
# The server of a process that was killed takes its time to stop; so much longer the folder's next owner
# waits.
_CLAIM_SLACK_SECONDS = 5.0


class Server(ABC):
    """A server in a folder of its own. Blocking: `asyncio.to_thread` in async code, from one thread at a time.

    Started again by the same object it keeps its port: a URL handed out stays true over `kill` and `restart`.
    """

    product: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(
        self, folder: Path, *, binary: Path | None, log_name: str, start_seconds: float, stop_seconds: int
    ) -> None:
        self.folder = Folder(folder, log_name)
        self._given_binary = binary
        self._binary: Path | None = None
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._port: int | None = None
        self._process: GuardedProcess | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL with its password, for clients on this machine. Known once the server has been started."""

    @property
    def binary(self) -> Path:
        """What it runs from: Redis' program, the folder of PostgreSQL's. Raises RuntimeError before the first start."""
        return self._known(self._binary)

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1. Raises RuntimeError before the first start."""
        return self._known(self._port)

    @property
    def pid(self) -> int:
        """The server's process id (PostgreSQL: the postmaster's). Raises RuntimeError when it is not running."""
        if self._process is None or not self._process.alive:
            raise RuntimeError(f"{self.product} is not running")
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process lives; it may still be deaf."""
        return self._process is not None and self._process.alive

    def start(self) -> None:
        """Start the server and wait until it answers. Does nothing if it runs already.

        Raises UsageError when the folder or the programs are unfit, UnreachableError when it does not answer.
        """
        if self.alive:
            return
        self.stop()  # lets go of one that ended by itself
        self.folder.create()
        with self.folder.claim(self.product, self._stop_seconds + _CLAIM_SLACK_SECONDS) as lock:
            self._binary = self._find_binary()
            self._prepare()
            deadline = time.monotonic() + self._start_seconds
            candidate = self._port or self._port_to_try()
            while not self._start_once(candidate, lock, deadline):
                # Who has had a port keeps it: clients hold the URL. Who has none yet takes another.
                if self._port is None and not is_free(candidate):
                    candidate = free_port()
            self.folder.remember_port(candidate)

    def stop(self) -> None:
        """Stop in order and wait for the end. Does nothing if the server is not running."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """SIGKILL, as a crash or the kernel's memory killer would; wait for the end."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        """Stop and start, on the same port with the same data. Also starts one that was killed."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _find_binary(self) -> Path:
        """What `binary` says from now on. Raises UsageError if there is none."""

    def _prepare(self) -> None:  # noqa: B027 - not every server needs to
        """Make what must be there before a start. The folder is ours alone by now."""

    @abstractmethod
    def _command(self, port: int) -> AbstractContextManager[Command]:
        """How to start it, valid within the block. Everyone on the machine can read it: no secret in it."""

    @abstractmethod
    def _answers(self, port: int) -> bool:
        """Whether the server on that port is ready, and ours: it takes our password."""

    def _may_pass(self, log_tail: str) -> bool:
        """Whether the reason for which the server ended by itself goes away by itself."""
        return False

    def _port_to_try(self) -> int:
        last = self.folder.last_port()
        return last if last is not None and is_free(last) else free_port()

    def _start_once(self, port: int, lock: int, deadline: float) -> bool:
        """One try: True when the server answers, False when another is worth it, else UnreachableError."""
        log = self.folder.open_log()
        try:
            with self._command(port) as command:
                process = GuardedProcess(
                    command, log=log, lock=lock, stop_signal=self.stop_signal, stop_seconds=self._stop_seconds
                )
        finally:
            os.close(log)
        try:
            while process.alive:
                if self._answers(port):
                    self._process, self._port = process, port
                    return True
                self._give_up_after(deadline, f"did not answer within {self._start_seconds:g} seconds")
                time.sleep(_POLL_SECONDS)
        finally:
            if self._process is not process:
                process.stop()
        reason = f"ended at once with exit code {process.exit_code}"
        if (self._port is None and not is_free(port)) or self._may_pass(self.folder.log_tail()):
            self._give_up_after(deadline, reason)
            time.sleep(_POLL_SECONDS)
            return False
        raise self._failure(reason)

    def _known(self, value: _T | None) -> _T:
        if value is None:
            raise RuntimeError(f"{self.product} was not started yet: call start() first")
        return value

    def _give_up_after(self, deadline: float, reason: str) -> None:
        if time.monotonic() > deadline:
            raise self._failure(reason)

    def _failure(self, reason: str) -> UnreachableError:
        return UnreachableError(
            f"{self.product} {reason}; its log {self.folder.log} ends with: {self.folder.log_tail()}"
        )


def start_together(*servers: Server) -> None:
    """Start several at once. If one fails the others are stopped, and its error is raised."""
    with ThreadPoolExecutor(max_workers=len(servers) or 1) as pool:
        starts = [pool.submit(server.start) for server in servers]
    errors = [error for start in starts if (error := start.exception())]
    if errors:
        for server in servers:
            server.stop()
        raise errors[0]
