"""A PostgreSQL of our own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import psycopg

from tidegate.embedded import binaries
from tidegate.embedded.account import RootsStandIn
from tidegate.embedded.process import Account
from tidegate.embedded.server import Server
from tidegate.errors import UnreachableError, UsageError

_NAME = "tidegate"  # of the user and of the database
_INITDB_SECONDS = 120
_CONNECT_SECONDS = 2


class PostgresServer(Server):
    """PostgreSQL with its data in `folder/data`, a database `tidegate` and a superuser of that name.

    `binary` is the folder that holds `postgres` and `initdb`; without it, see `binaries`. `durable=False` gives
    up the disk's promise for speed: what was committed survives a killed server, not a power cut.
    """

    product: ClassVar[str] = "PostgreSQL"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": ends sessions, then stops in order

    def __init__(
        self,
        folder: Path,
        *,
        binary: Path | None = None,
        prefer: binaries.Prefer = "wheel",
        durable: bool = True,
        connections_max: int = 200,
        start_seconds: float = 60.0,
        stop_seconds: int = 30,
    ) -> None:
        super().__init__(
            folder, binary=binary, log_name="postgres.log", start_seconds=start_seconds, stop_seconds=stop_seconds
        )
        self._prefer = prefer
        self._durable = durable
        self._connections_max = connections_max
        self._data = self.folder.path / "data"
        # PostgreSQL refuses to run as root.
        self._stand_in = RootsStandIn() if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        return self._url(self.port, _NAME)

    def _url(self, port: int, database: str) -> str:
        return f"postgresql://{_NAME}:{self.folder.password()}@127.0.0.1:{port}/{database}"

    def _find_binary(self) -> Path:
        found = binaries.find_postgres(self._given_binary, prefer=self._prefer)
        return self._stand_in.reachable(found) if self._stand_in else found

    def _prepare(self) -> None:
        if not self._data.exists():
            self._initialise()
        made_by = (self._data / "PG_VERSION").read_text().strip()
        ours = self._major_version()
        if made_by != ours:
            raise UsageError(
                f"{self._data} was made by PostgreSQL {made_by} and the one found here is {ours}: "
                "choose another folder, or the programs of that version"
            )
        if self._stand_in:
            self._stand_in.own(self._data)
        self._drop_stale_pid()

    def _initialise(self) -> None:
        """initdb, in a folder that gets its name when it is complete: one that broke off is made again."""
        draft = self._data.with_name("data.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if self._stand_in:
            self._stand_in.own(draft)
        # The password goes through a pipe: a file of ours would have to be readable to the account it is not
        # for.
        read, write = os.pipe()
        try:
            with os.fdopen(write, "w") as pipe:
                pipe.write(f"{self.folder.password()}\n")
            if account := self._run_as():
                os.fchown(read, account.uid, account.gid)
            result = self._run(self._initdb(draft), folder=draft, stdin=read)
        finally:
            os.close(read)
        if result.returncode != 0:
            lines = " / ".join(result.stdout.strip().splitlines()[-8:])
            raise UnreachableError(f"PostgreSQL could not make its data folder {self._data}: {lines}")
        draft.rename(self._data)

    def _initdb(self, folder: Path) -> Sequence[str | Path]:
        options = {
            "pgdata": self._seen_from_inside(folder),
            "username": _NAME,
            "pwfile": "/dev/stdin",
            "auth": "scram-sha-256",
            "encoding": "UTF8",
            "locale": "C",
        }
        switches = ["--data-checksums", "--no-instructions", *([] if self._durable else ["--no-sync"])]
        return ["initdb", *(f"--{name}={value}" for name, value in options.items()), *switches]

    def _command(self, port: int) -> Sequence[str | Path]:
        on = "on" if self._durable else "off"
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",  # a socket's path may have 107 bytes, a folder's may be longer
            "max_connections": self._connections_max,
            "fsync": on,
            "synchronous_commit": on,
            "full_page_writes": on,
            "timezone": "UTC",
            "log_timezone": "UTC",
            "jit": "off",  # our statements are short: compiling them costs more than it saves
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self.binary / "postgres", "-D", self._seen_from_inside(self._data), *arguments]

    def _answers(self, port: int) -> bool:
        try:
            with psycopg.connect(
                self._url(port, "postgres"), connect_timeout=_CONNECT_SECONDS, autocommit=True
            ) as connection:
                known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_NAME]).fetchone()
                if not known:
                    connection.execute(f'CREATE DATABASE "{_NAME}"')
        except psycopg.OperationalError:  # not listening yet, still recovering, or a stranger on the port
            return False
        return True

    def _may_pass(self, log_tail: str) -> bool:
        # A killed postmaster's sessions notice within moments that it is gone; until then they hold its
        # memory.
        return "pre-existing shared memory block" in log_tail

    def _run_as(self) -> Account | None:
        return self._stand_in.account if self._stand_in else None

    def _run_in(self) -> Path:
        return self._data

    def _seen_from_inside(self, folder: Path) -> Path:
        """The name by which the server, which runs in that folder, is to call it."""
        return self._stand_in.own_folder if self._stand_in else folder

    def _major_version(self) -> str:
        text = self._run(["postgres", "--version"], folder=Path("/"), stdin=subprocess.DEVNULL).stdout
        found = re.search(r"\(PostgreSQL\) (\d+)", text)
        if not found:
            raise UsageError(f"{self.binary}/postgres does not run here: {' / '.join(text.split(chr(10)))}")
        return found[1]

    def _run(self, command: Sequence[str | Path], *, folder: Path, stdin: int) -> subprocess.CompletedProcess[str]:
        account = self._run_as()
        return subprocess.run(  # noqa: S603 - a program that we found, arguments of our own
            [self.binary / command[0], *command[1:]],
            cwd=folder,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_INITDB_SECONDS,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            check=False,
        )

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
