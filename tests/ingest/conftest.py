"""Gates to attack: as a process of its own, and in this one with an application that answers when it is told."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
import redis
import uvloop
from starlette.types import Message, Receive, Scope, Send

from ingest.connections import ConnectionLimits, Connections
from ingest.protocol import protocol
from tests.conftest import with_database
from tests.ingest import process
from tests.ingest.process import Gate
from tests.ingest.wire import GateProcess
from tests.servers import Servers
from tidegate.serving import listen, server
from tidegate.settings import IngestSettings


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that gates run on: transports differ in what they do at the end of a stream."""
    return {"uvloop": uvloop.new_event_loop}


StartProcess = Callable[..., GateProcess]


@pytest.fixture
def start_process(redis_url: str, prefix: str, tmp_path: Path) -> Iterator[StartProcess]:
    """`start_process(words=..., **ingest)` starts a gate with those settings of [ingest]."""
    with ExitStack() as stack:

        def start(**options: Any) -> GateProcess:
            gate = GateProcess(tmp_path, redis_url=redis_url, prefix=prefix, **options)
            stack.callback(gate.process.stop)
            return gate

        yield start


@pytest.fixture(scope="module")
def attacked(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GateProcess]:
    """One gate for all attacks of a module, with narrow limits. None of them may be worth a line in its log."""
    prefix = f"t{secrets.token_hex(5)}"
    gate = GateProcess(
        tmp_path_factory.mktemp("gate"),
        redis_url=servers.redis_url,
        prefix=prefix,
        header_seconds=1,
        keep_alive_seconds=2,
        keep_alive_requests_max=20,
        body_seconds=2,
    )
    started = len(gate.log())
    try:
        yield gate
        assert not [line for line in gate.log()[started:].splitlines() if '"level": "info"' not in line]
    finally:
        gate.process.stop()
        with redis.Redis.from_url(servers.redis_url) as client:
            for key in client.scan_iter(match=f"{prefix}*", count=1000):
                client.unlink(key)


class Desk:
    """An application that reads the body, and answers 200 with it once `open`; "/now" is answered without reading."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.at_work = 0
        self.told_gone = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.paths: list[str] = []
        self.answer = b""
        """In place of the body, if not empty."""
        self.pieces = 1
        """It is sent in so many."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        self.headers = scope["headers"]
        body, more = b"", scope["path"] != "/now"
        while more:
            message: Message = await receive()
            if message["type"] == "http.disconnect":
                self.told_gone += 1
                return
            body, more = body + message["body"], message["more_body"]
        self.at_work += 1
        await self.open.wait()
        self.at_work -= 1
        body = self.answer or body
        length = [(b"content-length", str(len(body) * self.pieces).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        for n in range(1, self.pieces + 1):
            await send({"type": "http.response.body", "body": body, "more_body": n < self.pieces})


@dataclass
class Hall:
    """A server in this process, its connections, and the application behind it."""

    port: int
    connections: Connections
    stop: Callable[[], None]
    desk: Desk = field(default_factory=Desk)


StartHall = Callable[..., Awaitable[Hall]]


@pytest_asyncio.fixture
async def start_hall() -> AsyncIterator[StartHall]:
    """`await start_hall(**limits)`: those of ConnectionLimits that differ from the settings' defaults."""
    serving: list[tuple[Hall, asyncio.Task[None]]] = []

    async def start(**limits: Any) -> Hall:
        connections = Connections(replace(ConnectionLimits.of(IngestSettings()), **limits))
        desk = Desk()
        listener = listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        running = server(desk, http=protocol(connections), drain_seconds=5)
        hall = Hall(port, connections, running.stop, desk)
        serving.append((hall, asyncio.create_task(running.serve(sockets=[listener]))))
        return hall

    yield start
    for hall, task in serving:
        hall.desk.open.set()
        hall.stop()
        await task
        assert len(hall.connections) == 0
        assert not any(hall.connections.lines)


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
