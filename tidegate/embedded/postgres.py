"""A PostgreSQL of our own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import psycopg

from tidegate.embedded import binaries
from tidegate.embedded.account import Account, account
from tidegate.embedded.cluster import Cluster
from tidegate.embedded.process import Command
from tidegate.embedded.server import Server

_NAME = "tidegate"  # of the user and of the database
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
        self._account = Account()

    @property
    def url(self) -> str:
        return self._url(self.port, _NAME)

    def _url(self, port: int, database: str) -> str:
        return f"postgresql://{_NAME}:{self.folder.password()}@127.0.0.1:{port}/{database}"

    def _find_binary(self) -> Path:
        found = binaries.find_postgres(self._given_binary, prefer=self._prefer)
        self._account = account()
        return self._account.reachable(found)

    def _prepare(self) -> None:
        cluster = Cluster(self._data, self.binary, self._account)
        cluster.make_ready(_NAME, self.folder.password(), durable=self._durable)

    @contextmanager
    def _command(self, port: int) -> Iterator[Command]:
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
        with self._account.command_in(self._data) as (name, command):
            yield replace(command, words=[self.binary / "postgres", "-D", name, *arguments])

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
        # A killed postmaster's sessions hold its memory until they notice, within moments, that it is gone.
        return "pre-existing shared memory block" in log_tail
