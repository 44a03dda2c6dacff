"""The servers, as fixtures: shared ones kept apart by prefix and database, and private ones that a test may kill."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis

from tests.servers import Choice, Servers, choose, running
from tidegate.embedded import PostgresServer, RedisServer
from tidegate.errors import UsageError

SCHEMA = Path(__file__).parents[1] / "schema.sql"

_CHOICE = pytest.StashKey[Choice]()


def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[_CHOICE] = choose()
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> str:
    try:
        return f"servers: {config.stash[_CHOICE].describe()}"
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The shared servers, started by the first test that wants one."""
    with running(pytestconfig.stash[_CHOICE], tmp_path_factory.mktemp("servers")) as started:
        yield started


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """The shared Redis. A test keeps to keys that begin with its `prefix`, and stops nothing."""
    return servers.redis_url


@pytest.fixture
def prefix(redis_url: str) -> Iterator[str]:
    """A beginning for keys that no other test has. What it left behind is deleted afterwards."""
    own = f"t{secrets.token_hex(5)}"
    yield own
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(match=f"{own}*", count=1000):
            client.unlink(key)


@pytest.fixture(scope="session")
def postgres_template(servers: Servers) -> Iterator[str]:
    """The name of a database with the tables of schema.sql and nothing in them."""
    name = f"tidegate_template_{secrets.token_hex(5)}"
    with psycopg.connect(servers.postgres_url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
        if SCHEMA.exists():
            with psycopg.connect(with_database(servers.postgres_url, name)) as connection:
                connection.execute(SCHEMA.read_bytes())
        yield name
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
def postgres_url(servers: Servers, postgres_template: str) -> Iterator[str]:
    """A database of the test's own, with the tables of schema.sql and nothing in them."""
    name = f"tidegate_test_{secrets.token_hex(5)}"
    with psycopg.connect(servers.postgres_url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{postgres_template}"'.encode())
        yield with_database(servers.postgres_url, name)
        # Whatever a failed test left connected must not fail the next one.
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
def own_redis(pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """`own_redis(**options)` starts a Redis that the test may kill and restart, with RedisServer's options.

    Its own defaults are those of production: every write is on disk before its answer.
    """
    choice = pytestconfig.stash[_CHOICE]
    with ExitStack() as stack:

        def start(**options: Any) -> RedisServer:
            folder = tmp_path / f"redis-{secrets.token_hex(3)}"
            server = RedisServer(folder, **{"binary": choice.redis_binary(), **options})
            stack.callback(server.stop)
            server.start()
            return server

        yield start


@pytest.fixture
def own_postgres(pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[Callable[..., PostgresServer]]:
    """`own_postgres(**options)` starts a PostgreSQL likewise. It has no tables.

    Not durable unless asked for: killed, it comes back without its last commits (synchronous_commit is off).
    """
    choice = pytestconfig.stash[_CHOICE]
    with ExitStack() as stack:

        def start(**options: Any) -> PostgresServer:
            folder = tmp_path / f"postgres-{secrets.token_hex(3)}"
            server = PostgresServer(folder, **{"binary": choice.postgres_binary(), "durable": False, **options})
            stack.callback(server.stop)
            server.start()
            return server

        yield start


def with_database(url: str, name: str) -> str:
    """Return the URL of the database ``name`` on the server of ``url``."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one: what nobody runs there, nobody runs."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where everything must run: {report.longrepr}"
    return report
