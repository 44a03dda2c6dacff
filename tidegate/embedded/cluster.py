"""PostgreSQL's data folder: made once, checked at every start."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from tidegate.embedded.account import Account
from tidegate.errors import UnreachableError, UsageError

_INITDB_SECONDS = 300
_VERSION_SECONDS = 10
_LINES_SHOWN = 8


class Cluster:
    """The folder `data`, to be used with the programs in `binary` under `account`."""

    def __init__(self, data: Path, binary: Path, account: Account) -> None:
        self._data = data
        self._binary = binary
        self._account = account

    def make_ready(self, user: str, password: str, *, durable: bool) -> None:
        """Make it if it is not there, with that superuser; see that it can be started.

        Raises UsageError if another major version made it, UnreachableError if initdb fails.
        """
        if not self._data.exists():
            self._make(user, password, durable=durable)
        made_by = (self._data / "PG_VERSION").read_text().strip()
        found = self._major_version()
        if made_by != found:
            raise UsageError(
                f"{self._data} was made by PostgreSQL {made_by} and the one found here is {found}: "
                "choose another folder, or the programs of that version"
            )
        self._account.own(self._data)
        self._drop_stale_pid()

    def _make(self, user: str, password: str, *, durable: bool) -> None:
        """initdb, in a folder that gets its name when it is complete: one that broke off is made again."""
        draft = self._data.with_name(f"{self._data.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self._account.own(draft)
        switches = ["--data-checksums", "--no-instructions", *([] if durable else ["--no-sync"])]
        with self._account.command_in(draft) as (name, command):
            options = {
                "pgdata": name,
                "username": user,
                "pwfile": "/dev/stdin",
                "auth": "scram-sha-256",
                "encoding": "UTF8",
                "locale": "C",
            }
            words: list[str | Path] = [
                self._binary / "initdb",
                *(f"--{key}={value}" for key, value in options.items()),
                *switches,
            ]
            # Through a pipe, as everyone could read it from the command line.
            read, write = os.pipe()
            try:
                os.write(write, f"{password}\n".encode())
                os.close(write)
                if command.identity:  # /dev/stdin is opened anew, and that asks for the right to
                    os.fchown(read, command.identity.uid, command.identity.gid)
                code, text = replace(command, words=words).run(stdin=read, limit_seconds=_INITDB_SECONDS)
            except (OSError, subprocess.TimeoutExpired) as error:
                code, text = -1, str(error)
            finally:
                os.close(read)
        if code != 0:
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            said = " / ".join(lines[-_LINES_SHOWN:])
            raise UnreachableError(f"PostgreSQL could not make its data folder {self._data}: {said}")
        draft.rename(self._data)

    def _major_version(self) -> str:
        with self._account.command_in(self._data) as (_, command):
            words: list[str | Path] = [self._binary / "postgres", "--version"]
            _, text = replace(command, words=words).run(limit_seconds=_VERSION_SECONDS)
        found = re.search(r"\(PostgreSQL\) (\d+)", text)
        if found is None:
            raise UsageError(f"{self._binary / 'postgres'} does not run here: {' / '.join(text.splitlines())}")
        return found[1]

    def _drop_stale_pid(self) -> None:
        """Remove the pid file of a dead postmaster whose number another program has by now.

        PostgreSQL would take that program for a postmaster and refuse to start; in a container, where numbers
        begin anew with every start, that is likely. We hold the folder's lock, so no server of ours lives.
        """
        path = self._data / "postmaster.pid"
        try:
            pid = path.read_text().split()[0]
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError, IndexError):
            return  # there is no such file or process (or no /proc): PostgreSQL judges that rightly by itself
        if not name.startswith("postgres"):
            path.unlink()
