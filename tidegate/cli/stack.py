"""Everything on this machine: embedded servers, gate, workers and console as processes of their own, in one folder.

Whoever starts a stack and dies, however it dies, takes all of it along: each process runs under a guard.
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import sys
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from tidegate.embedded import PostgresServer, RedisServer, start_together
from tidegate.embedded.process import Command, GuardedProcess
from tidegate.errors import TidegateError, UnreachableError
from tidegate.serving import listen
from tidegate.settings import Settings, load

KEPT = ("redis_url", "postgres_url", "admin_token")
"""Settings whose values are files in the stack's folder: they are no command line's and no environment's business."""

START_SECONDS = 30.0
"""How long a process may take until it answers its health endpoint."""


class Process:
    """One `tidegate ...` of the stack; its log is a file in the stack's folder."""

    def __init__(
        self,
        name: str,
        words: list[str],
        folder: Path,
        *,
        health_port: int,
        working_folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``working_folder`` None: it stands in ``folder``; ``environment`` is set beside our own variables."""
        self.name = name
        self.words = words
        self.log = folder / f"{name}.log"
        self.health_url = f"http://127.0.0.1:{health_port}"
        with self.log.open("ab") as log, Path(os.devnull).open("rb") as lock:
            self._process = GuardedProcess(
                Command(words, working_folder or folder, environment=environment or {}),
                log=log.fileno(),
                lock=lock.fileno(),
                stop_signal=signal.SIGTERM,
                stop_seconds=20,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.alive

    @property
    def exit_code(self) -> int | None:
        """None while it lives."""
        return self._process.exit_code

    def wait_ready(self) -> None:
        """Return when it answers; raise UnreachableError with the end of its log when it does not."""
        asking = Retrying(
            retry=retry_if_exception_type(OSError),
            wait=wait_fixed(0.05),
            stop=lambda state: not self.alive or stop_after_delay(START_SECONDS)(state),
        )
        try:
            asking(self._ask)
        except RetryError:
            tail = " | ".join(self.log.read_text("utf-8", "replace").strip().splitlines()[-3:])
            raise UnreachableError(f"{self.name} did not start; its log {self.log} ends with: {tail}") from None

    def _ask(self) -> None:
        with urllib.request.urlopen(f"{self.health_url}/readyz", timeout=2):  # noqa: S310 - our own http URL
            pass

    def signal(self, number: int) -> None:
        """Send the process itself a signal, past its guard."""
        os.kill(self.pid, number)

    def stop(self) -> None:
        """SIGTERM, and by force when it takes too long; return when it has ended."""
        self._process.stop()


class Stack:
    """Embedded servers (or given ones) and Tidegate's processes, started by ``with``."""

    def __init__(
        self,
        folder: Path,
        *,
        settings_text: Callable[[str], str] | None = None,
        own: Path | None = None,
        redis_url: str | None = None,
        postgres_url: str | None = None,
        workers: int = 2,
        python: list[str],
        gate_port: int = 0,
        console_port: int | None = 0,
    ) -> None:
        """``settings_text`` makes tidegate.toml from the gate's URL; else ``own`` is the user's, and the processes run where
        we do, so that its paths and handlers are found. Port 0 is any free one, None starts no console.
        """
        self.folder = folder.absolute()
        self._own = own.absolute() if own is not None else None
        self._environment: dict[str, str] = {}
        self.admin_token = secrets.token_urlsafe(24)
        self.gate_url = ""
        self.console_url = ""
        self.workers: list[Process] = []
        self._settings_text = settings_text
        self._redis_url = redis_url
        self._postgres_url = postgres_url
        self._workers = workers
        self._python = python
        self._gate_port = gate_port
        self._console_port = console_port
        self._numbered = 0
        self._open = ExitStack()

    @property
    def config(self) -> Path:
        """The settings file of all its processes; of one that we made, `tidegate -c` with it talks to the same stack."""
        return self._own or self.folder / "tidegate.toml"

    @property
    def settings(self) -> Settings:
        return load(self.config, **{name: f"file:{self.folder / name}" for name in KEPT})

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _start(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._start_servers()
        gate_port = _free_port(self._gate_port)
        self.gate_url = f"http://127.0.0.1:{gate_port}"
        self._write("redis_url", self._redis_url or "")
        self._write("postgres_url", self._postgres_url or "")
        self._write("admin_token", self.admin_token)
        if self._settings_text is not None:
            self._write("tidegate.toml", self._header() + self._settings_text(self.gate_url))
        self._environment = {f"TIDEGATE_{name.upper()}": f"file:{self.folder / name}" for name in KEPT} | {
            "TIDEGATE_CONFIG": str(self.config),
            "TIDEGATE_INGEST__PORT": str(gate_port),  # where `tidegate send` posts to
        }
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in self._environment.items()]
        programs = shlex.quote(str(Path(sys.executable).parent))
        found = f'command -v tidegate >/dev/null || export PATH="$PATH":{programs}\n'
        self._write("env", found + "".join(lines))
        self._init()
        self.gate = self._process("gate", "ingest", "--host", "127.0.0.1", "--port", str(gate_port), port=gate_port)
        for _ in range(self._workers):
            self.add_worker()
        processes = [self.gate, *self.workers]
        if self._console_port is not None:
            console_port = _free_port(self._console_port)
            self.console_url = f"http://127.0.0.1:{console_port}"
            words = ("console", "--host", "127.0.0.1", "--port", str(console_port))
            processes.append(self._process("console", *words, port=console_port))
        for process in processes:
            process.wait_ready()

    def _start_servers(self) -> None:
        servers: list[RedisServer | PostgresServer] = []
        if self._redis_url is None:
            redis = RedisServer(self.folder / "redis")
            servers.append(redis)
        if self._postgres_url is None:
            postgres = PostgresServer(self.folder / "postgres")
            servers.append(postgres)
        if servers:
            start_together(*servers)
        for server in servers:
            self._open.callback(server.stop)
        self._redis_url = self._redis_url or redis.url
        self._postgres_url = self._postgres_url or postgres.url

    def _header(self) -> str:
        return (
            "# Written anew by each `tidegate up` and `tidegate demo`.\n"
            + "".join(f'{name} = "file:{self.folder / name}"\n' for name in KEPT)
            + 'log_format = "json"\n\n'
        )

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")

    @property
    def _stands(self) -> Path:
        return self.folder if self._own is None else Path.cwd()

    def _init(self) -> None:
        command = Command([*self._python, "-c", self.config, "init"], self._stands, environment=self._environment)
        code, output = command.run(limit_seconds=60)
        if code:
            raise TidegateError(f"tidegate init failed: {output.strip()}")

    def _process(self, name: str, *words: str, port: int) -> Process:
        process = Process(
            name,
            [*self._python, "-c", str(self.config), *words],
            self.folder,
            health_port=port,
            working_folder=self._stands,
            environment=self._environment,
        )
        self._open.callback(process.stop)
        return process

    def add_worker(self) -> Process:
        """Start one more worker; `wait_ready` is the caller's."""
        self._numbered += 1
        port = _free_port(0)
        worker = self._process(f"worker-{self._numbered}", "consume", "--metrics-port", str(port), port=port)
        self.workers.append(worker)
        return worker


def _free_port(wanted: int) -> int:
    """Return ``wanted`` if it is free (UsageError otherwise), or any free port for 0."""
    with listen("127.0.0.1", wanted) as listener:
        port: int = listener.getsockname()[1]
    return port
