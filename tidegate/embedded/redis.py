"""A Redis of our own, set as the promise behind a 202 needs it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tidegate.embedded import binaries
from tidegate.embedded.process import Command
from tidegate.embedded.server import Server

_ANSWER_SECONDS = 2.0


class RedisServer(Server):
    """Redis in `folder`: every write is on disk before its answer, and nothing is ever evicted.

    `binary` is a redis-server program; without it, see `binaries`. Tests that do not care for what survives a
    power cut may give `appendfsync="no"`.
    """

    product: ClassVar[str] = "Redis"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(
        self,
        folder: Path,
        *,
        binary: Path | None = None,
        prefer: binaries.Prefer = "wheel",
        appendonly: bool = True,
        appendfsync: Literal["always", "everysec", "no"] = "always",
        start_seconds: float = 60.0,
        stop_seconds: int = 30,
    ) -> None:
        super().__init__(
            folder, binary=binary, log_name="redis.log", start_seconds=start_seconds, stop_seconds=stop_seconds
        )
        self._prefer = prefer
        self._appendonly = appendonly
        self._appendfsync = appendfsync

    @property
    def url(self) -> str:
        port = self.port
        return f"redis://:{self.folder.password()}@127.0.0.1:{port}/0"

    def _find_binary(self) -> Path:
        return binaries.find_redis(self._given_binary, prefer=self._prefer)

    @contextmanager
    def _command(self, port: int) -> Iterator[Command]:
        configuration = self.folder.write_private("redis.conf", self._configuration(port))
        yield Command([self.binary, configuration], self.folder.path)

    def _configuration(self, port: int) -> str:
        folder = str(self.folder.path).replace("\\", "\\\\").replace('"', '\\"')
        lines = [
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {self.folder.password()}",
            f'dir "{folder}"',
            'logfile ""',  # standard output, which is our log, as is its word on a bad configuration
            "daemonize no",
            f"appendonly {'yes' if self._appendonly else 'no'}",
            f"appendfsync {self._appendfsync}",
            'save ""',  # a snapshot beside the append-only file costs a fork and adds nothing
            "maxmemory-policy noeviction",  # the gate sees a refused write, nobody an evicted event
        ]
        return "\n".join(lines) + "\n"

    def _answers(self, port: int) -> bool:
        client = redis.Redis(
            host="127.0.0.1",
            port=port,
            password=self.folder.password(),
            socket_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),  # the caller asks again until its own limit
        )
        try:
            return bool(client.ping())
        except redis.RedisError:  # not listening yet, still loading, or a stranger on the port
            return False
        finally:
            client.close()
