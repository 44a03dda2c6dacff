"""A server process under its guard (see guard.py), seen from the process that wants the server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tidegate.embedded import guard


@dataclass(frozen=True)
class Account:
    """The user that a program runs as; `None` in its place means: as we are."""

    uid: int
    gid: int


class GuardedProcess:
    """One run of a server. It cannot be started twice."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        folder: Path,
        log: int,
        lock: int,
        stop_signal: int,
        stop_seconds: int,
        account: Account | None = None,
    ) -> None:
        """Start `command` in `folder`, its output going to the descriptor `log`, `lock` held while it lives.

        Raises OSError if not even the guard can be started.
        """
        uid, gid = (account.uid, account.gid) if account else (-1, -1)
        numbers = (os.getpid(), stop_signal, stop_seconds, uid, gid)
        self._stop_seconds = stop_seconds
        self._guard = subprocess.Popen(  # noqa: S603 - our own interpreter and file
            [sys.executable, "-I", "-S", guard.__file__, *map(str, numbers), folder, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment(),
            pass_fds=(lock,),
            # Ctrl-C reaches every process of the terminal's foreground group: the servers must outlive ours,
            # which still has work to hand back.
            start_new_session=True,
            bufsize=0,
        )
        assert self._guard.stdout is not None
        with self._guard.stdout as answer:
            # Empty when the command could not be started: then the guard has said why in the log, and is
            # gone.
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
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._guard.stdin.write(order)
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.close()
        # The guard kills what does not stop, so this limit is only for a guard that is itself stopped or
        # starved.
        self._guard.wait(self._stop_seconds + 30)


def _environment() -> dict[str, str]:
    """Ours without what would change the servers: PGDATA and its like, and a locale that may not exist here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C"}
