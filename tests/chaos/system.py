"""What is to be broken: two servers behind proxies, gates and workers, all in one folder."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.chaos import handlers
from tests.chaos.processes import Processes, free_port
from tests.chaos.proxy import Proxy
from tidegate.cli.demo_sources import DemoSources
from tidegate.embedded import PostgresServer, RedisServer
from tidegate.embedded.process import Command
from tidegate.settings import Settings, load
from tidegate.stream import Stream, connect

ROOT = Path(__file__).parents[2]
SHARDS = 2
LEASE_SECONDS = 3.0
DIRECT_SECONDS = 5.0
APPEND_SECONDS = 1.0
INBOX_SECONDS = 1.0
SETTINGS = f"""\
[stream]
shards = {SHARDS}
seen_seconds = 6        # short: repeated events must get past the gate, or Postgres' own recognition is never needed
timeout_seconds = 1.0

[postgres]
connect_timeout_seconds = 2.0
statement_timeout_ms = 5000
lock_timeout_ms = 2000
idle_in_transaction_timeout_ms = 10000
transaction_timeout_ms = 15000

[ingest]
append_seconds = {APPEND_SECONDS}
inbox_seconds = {INBOX_SECONDS}   # with it less than a provider waits: ANSWER_SECONDS
breaker_seconds_max = 1.0
retry_after_seconds = 1
notice_seconds = 0.2
drain_seconds = 5.0

[consumer]
handlers = "tests.chaos.handlers:handlers"
batch = 200
lease_seconds = {LEASE_SECONDS}
block_ms = 500
event_seconds = 3.0
batch_seconds = 6.0
hang_seconds = 30.0
breaker_seconds_max = 2.0
drain_seconds = 5.0
reconnect_seconds = 120.0

[retry]
delays_seconds = {[0.2, 0.5, 1, 2, 4] + [8] * 20}   # in all longer than any stall: an orphan must not die of an outage
jitter_ms = 100
"""


@dataclass(slots=True)
class System:
    """All of it, running. ``stream`` and ``postgres()`` reach the servers past the proxies."""

    folder: Path
    redis: RedisServer
    postgres: PostgresServer
    redis_proxy: Proxy
    postgres_proxy: Proxy
    processes: Processes
    stream: Stream

    @property
    def config(self) -> Path:
        return self.folder / "tidegate.toml"

    @property
    def settings(self) -> Settings:
        return load(self.config)

    @property
    def gate_urls(self) -> list[str]:
        return [f"http://127.0.0.1:{place.port}" for place in self.processes.gates]

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Yield a connection past the proxy, which may write even where that is forbidden; autocommit."""
        connection = await psycopg.AsyncConnection.connect(
            self.postgres.url,
            autocommit=True,
            connect_timeout=int(DIRECT_SECONDS),
            options="-c default_transaction_read_only=off",
        )
        async with connection:
            yield connection

    async def boxed(self) -> int:
        """Return how many events are in the inbox."""
        async with self.connected() as connection:
            rows = await (await connection.execute("SELECT count(*) FROM inbox")).fetchall()
        return int(rows[0][0])

    async def audit(self) -> dict[str, Any]:
        """Return what `tidegate audit --json` prints, through the proxies as any operator's would be."""
        words = [sys.executable, "-m", "tidegate", "-c", str(self.config), "audit", "--json"]
        printed = await asyncio.to_thread(
            subprocess.run, words, capture_output=True, text=True, timeout=60, check=False, cwd=self.folder
        )
        if not printed.stdout.strip():
            raise RuntimeError(f"tidegate audit exited with {printed.returncode}: {printed.stderr.strip()[-500:]}")
        found: dict[str, Any] = json.loads(printed.stdout)
        return found


@asynccontextmanager
async def running(
    folder: Path, redis_server: RedisServer, postgres_server: PostgresServer, *, gates: int, workers: int
) -> AsyncIterator[System]:
    """Put proxies before two started servers, and gates and workers behind them; all but the servers end with it."""
    proxies = Proxy(redis_server.port), Proxy(postgres_server.port)
    for proxy in proxies:
        await proxy.start()
    client = connect(redis_server.url, timeout_seconds=DIRECT_SECONDS)
    environment = {"PYTHONPATH": f"{Path(__file__).parent / 'clock'}:{ROOT}"}
    python = [sys.executable, "-m", "tidegate", "-c", str(folder / "tidegate.toml")]
    processes = Processes(folder, python, environment)
    system = System(
        folder, redis_server, postgres_server, *proxies, processes, Stream(client, prefix="chaos", shards=SHARDS)
    )
    try:
        ports = [free_port() for _ in range(gates)]
        _configure(system, gate_port=ports[0])
        await asyncio.to_thread(_init, system)
        async with system.connected() as connection:
            await connection.execute(handlers.SCHEMA.encode())
        for port in ports:
            # The last is two processes, so that what befalls one of several is tried too.
            processes.start_gate(port, processes=2 if port == ports[-1] else 1)
        for _ in range(workers):
            processes.start_worker()
        await asyncio.to_thread(processes.wait_ready)
        yield system
    finally:
        await asyncio.to_thread(processes.stop)
        await client.aclose()
        for proxy in proxies:
            await proxy.stop()


def _configure(system: System, *, gate_port: int) -> None:
    urls = {
        "redis_url": _through(system.redis.url, system.redis_proxy),
        "postgres_url": _through(system.postgres.url, system.postgres_proxy),
    }
    lines = [f'{name} = "file:{system.folder / name}"' for name in urls]
    for name, url in urls.items():
        path = system.folder / name
        path.touch(mode=0o600)
        path.write_text(url)
    prefixed = SETTINGS.replace("[stream]\n", '[stream]\nprefix = "chaos"\n')
    sources = DemoSources().toml(f"http://127.0.0.1:{gate_port}")
    system.config.write_text("\n".join([*lines, 'log_format = "json"', "", prefixed, sources]))


def _init(system: System) -> None:
    code, output = Command([*system.processes.python, "init"], system.folder).run(limit_seconds=60)
    if code:
        raise RuntimeError(f"tidegate init failed: {output.strip()}")


def _through(url: str, proxy: Proxy) -> str:
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{proxy.port}"))
