"""A gate as a process of its own, and clients that keep on posting to it and write down what they were answered."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil  # type: ignore[import-untyped]

from ingest import adapters
from tests.fixtures import until
from tidegate.cli.stack import Process
from tidegate.serving import listen

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"type": "campaign.created", "timestamp": "2026-01-01T00:00:00Z", "data": {"campaign_id": "c-1"}}'
_ADAPTER = adapters.build("standard-webhooks", [SECRET], tolerance_seconds=300, options={})
_ids = itertools.count()

# Becomes `tidegate` with the socket FD as a service manager passes it.
_PASS = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); "
_PASS += "os.execv(sys.argv[2], sys.argv[2:])"


def signed(source: str = "crm", url: str = "http://gate") -> tuple[list[tuple[str, str]], bytes]:
    """Return headers and body of an event that nobody has sent yet."""
    message_id = f"msg_{os.getpid()}_{next(_ids)}"
    headers, body = _ADAPTER.sign(BODY, url=f"{url}/webhooks/{source}", now_seconds=time.time(), message_id=message_id)
    return list(headers), body


def raw(source: str = "crm") -> bytes:
    """Return such a request as it is on the wire."""
    headers, body = signed(source)
    head = [f"POST /webhooks/{source} HTTP/1.1", "Host: gate", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, *(f"{name}: {value}" for name, value in headers), "", ""]).encode() + body


class Gate:
    """`tidegate ingest` on a port of its own."""

    def __init__(self, folder: Path, *, redis_url: str, prefix: str, workers: int = 2, toml: str = "") -> None:
        self.workers = workers
        self._folder = folder
        self._redis_url = redis_url
        self._prefix = prefix
        self._numbered = 0
        with listen("127.0.0.1", 0) as listener:
            self.port: int = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "tidegate.toml"
        self.configure(toml)

    def configure(self, toml: str = "", *, redis_url: str = "") -> None:
        """Write the settings anew."""
        self.config.write_text(
            f'redis_url = "{redis_url or self._redis_url}"\nlog_format = "json"\n'
            f'[stream]\nprefix = "{self._prefix}"\nshards = 2\ntimeout_seconds = 2\n'
            f'[sources.crm]\nprovider = "standard-webhooks"\nsecrets = ["{SECRET}"]\n{toml}'
        )

    def words(self) -> list[str]:
        words = [sys.executable, "-m", "tidegate", "-c", str(self.config), "ingest", "--host", "127.0.0.1"]
        return [*words, "--port", str(self.port), "--workers", str(self.workers)]

    def start(self) -> Process:
        """Start it, and return when it is ready."""
        self._numbered += 1
        self.process = Process(f"gate-{self._numbered}", self.words(), self._folder, health_port=self.port)
        self.process.wait_ready()
        return self.process

    async def started(self) -> Process:
        """`start`, and return when all its processes serve."""
        process = await asyncio.to_thread(self.start)
        await until(lambda: self.says("a gate process serves", times=self.workers))
        return process

    def passing(self, listener: socket.socket) -> list[str | Path]:
        """Return the words that start it with ``listener`` passed as systemd would."""
        return [sys.executable, "-c", _PASS, str(listener.fileno()), *self.words()]

    def log(self) -> str:
        return "".join(path.read_text("utf-8", "replace") for path in sorted(self._folder.glob("gate-*.log")))

    async def says(self, text: str, *, times: int = 1) -> bool:
        return self.log().count(text) >= times

    def children(self) -> set[int]:
        try:
            return {child.pid for child in psutil.Process(self.process.pid).children()}
        except psutil.NoSuchProcess:
            return set()

    async def metrics(self) -> str:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as answer:
            return await answer.text()

    async def counted(self, status: int = 202) -> int:
        """Return how many requests /metrics says were answered with ``status``."""
        found = re.search(
            rf'^tidegate_ingest_requests_total{{source="crm",status="{status}"}} (\S+)', await self.metrics(), re.M
        )
        return int(float(found[1])) if found else 0


class Clients:
    """Post one event after another and count the answers; what was not answered is counted by its error."""

    def __init__(self, gate: Gate) -> None:
        self.answers: Counter[int | str] = Counter()
        self.closed = 0
        """Answers that closed their connection."""
        self._gate = gate

    @property
    def taken(self) -> int:
        """Events that were answered 202."""
        return self.answers[202]

    async def more(self, count: int = 20) -> None:
        """Return when so many more have been answered 202."""
        wanted = self.taken + count

        async def enough() -> bool:
            return self.taken >= wanted

        await until(enough)

    @asynccontextmanager
    async def posting(self, *, clients: int = 4, kept: bool = False) -> AsyncIterator[None]:
        """Keep on posting meanwhile, with a connection a request or with connections that are ``kept``."""
        stop = asyncio.Event()
        connector = aiohttp.TCPConnector(force_close=not kept)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def client() -> None:
                while not stop.is_set():
                    await self.post(session)

            tasks = [asyncio.create_task(client()) for _ in range(clients)]
            try:
                yield
            finally:
                stop.set()
                await asyncio.gather(*tasks)

    async def post(self, session: aiohttp.ClientSession) -> None:
        headers, body = signed(url=self._gate.url)
        options: Any = {"headers": headers, "data": body, "timeout": aiohttp.ClientTimeout(total=20)}
        try:
            async with session.post(f"{self._gate.url}/webhooks/crm", **options) as answer:
                await answer.read()
                self.answers[answer.status] += 1
                self.closed += answer.headers.get("connection", "") == "close"
        except aiohttp.ClientConnectorError:
            self.answers["refused"] += 1
            await asyncio.sleep(0.01)  # or a port that nobody listens on is all that is tried any more
        except (aiohttp.ClientError, TimeoutError) as error:
            self.answers[type(error).__name__] += 1
