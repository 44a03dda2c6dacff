"""One gate process for all tests that attack it from outside; it has to survive every one of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest
import redis

from tests.conftest import with_database
from tests.ingest import process
from tests.ingest.process import Gate
from tests.servers import Servers


@pytest.fixture(scope="package")
def gate_prefix(servers: Servers) -> Iterator[str]:
    """The beginning of all keys of that gate. What it left behind is deleted afterwards."""
    own = f"t{secrets.token_hex(5)}"
    yield own
    with redis.Redis.from_url(servers.redis_url) as client:
        for key in client.scan_iter(match=f"{own}*", count=1000):
            client.unlink(key)


@pytest.fixture(scope="package")
def gate_database(servers: Servers, postgres_template: str) -> Iterator[str]:
    """The URL of a database for it."""
    name = f"tidegate_test_{secrets.token_hex(5)}"
    with psycopg.connect(servers.postgres_url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{postgres_template}"'.encode())
        yield with_database(servers.postgres_url, name)
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture(scope="package")
def gate_process(
    tmp_path_factory: pytest.TempPathFactory, servers: Servers, gate_prefix: str, gate_database: str
) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("gate")
    with process.running(folder, servers.redis_url, gate_database, gate_prefix) as gate:
        yield gate
        assert gate.process.alive
