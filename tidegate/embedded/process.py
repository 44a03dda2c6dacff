"""Programs as processes: one that is run to its end, and a server that runs under a guard (see guard.py)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tidegate.embedded import guard

# The guard kills what does not stop, so more than this is only for a guard that is itself stopped or starved.
_GUARD_SLACK_SECONDS = 30


@dataclass(frozen=True)
class Identity:
    """The user and the group that a program runs as. `None` in its place means: as we are."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Command:
    """What to run: the program and its arguments, its working folder, and what it gets from us."""

    words: Sequence[str | Path]
    folder: Path
    identity: Identity | None = None
    descriptors: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """What is set beside our own variables."""

    def run(self, *, stdin: int = subprocess.DEVNULL, limit_seconds: float) -> tuple[int, str]:
        """Run it to its end; return its exit code and all that it wrote. Raises OSError, subprocess.TimeoutExpired."""
        result = subprocess.run(  # noqa: S603 - a program that we found, arguments of our own
            self.words,
            cwd=self.folder,
            env=_environment() | dict(self.environment),
            pass_fds=self.descriptors,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit_seconds,
            user=self.identity.uid if self.identity else None,
            group=self.identity.gid if self.identity else None,
            extra_groups=[] if self.identity else None,
            check=False,
        )
        return result.returncode, result.stdout


class GuardedProcess:
    """One run of a server. It cannot be started twice."""

    def __init__(self, command: Command, *, log: int, lock: int, stop_signal: int, stop_seconds: int) -> None:
        """Start the server, its output going to the descriptor `log`, the one of `lock` held while it lives.

        Raises OSError if not even the guard can be started.
        """
        self._stop_seconds = stop_seconds
        uid, gid = (command.identity.uid, command.identity.gid) if command.identity else (-1, -1)
        descriptors = ",".join(map(str, command.descriptors))
        orders = [*map(str, (os.getpid(), stop_signal, stop_seconds, uid, gid)), descriptors]
        self._guard = subprocess.Popen(  # noqa: S603 - our own interpreter and file
            [sys.executable, "-I", "-S", guard.__file__, *orders, *command.words],
            cwd=command.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment() | dict(command.environment),
            pass_fds=(lock, *command.descriptors),
            # Ctrl-C reaches every process of the terminal's foreground group: the servers must outlive ours,
            # which still has work to hand back.
            start_new_session=True,
            bufsize=0,
        )
        assert self._guard.stdout is not None
        with self._guard.stdout as answer:
            # Empty when the server could not be started: then the guard said why in the log, and ended.
            self.pid = int(answer.readline() or 0)

    @property
    def alive(self) -> bool:
        return self._guard.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The server's, or 256 minus the signal that ended it; None while it lives."""
        return self._guard.poll()

    def stop(self) -> None:
        """Stop in order, by force past its time; return when it has ended. Harmless when it has already."""
        self._order(b"T")

    def kill(self) -> None:
        """SIGKILL the server, as a crash would. Returns when it has ended."""
        self._order(b"K")

    def _order(self, order: bytes) -> None:
        assert self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):  # it has ended by itself, or had its order before
            self._guard.stdin.write(order)
        self._guard.stdin.close()
        self._guard.wait(self._stop_seconds + _GUARD_SLACK_SECONDS)


def _environment() -> dict[str, str]:
    """Ours without what would change the servers: PGDATA and its like, and a locale that may not exist here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C"}
