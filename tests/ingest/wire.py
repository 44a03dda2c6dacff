"""A client that says exactly which bytes it sends, and a gate as a process for it to say them to."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httptools
import psutil  # type: ignore[import-untyped]

from ingest import adapters
from tidegate.cli.stack import Process
from tidegate.serving import listen

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"type": "campaign.created", "timestamp": "2026-01-01T00:00:00Z", "data": {"campaign_id": "c-1"}}'
_ADAPTER = adapters.build("standard-webhooks", [SECRET])


def signed(**changed: str | None) -> bytes:
    """Return a whole request that a gate with source ``crm`` answers 202. ``changed`` headers replace or, None, drop one."""
    headers, sent = _ADAPTER.sign(
        BODY, url="http://gate/webhooks/crm", now_seconds=time.time(), message_id=f"msg_{uuid.uuid4()}"
    )
    lines: dict[str, str | None] = {"host": "gate", "content-length": str(len(sent))}
    lines |= {name.lower(): value for name, value in headers}
    lines |= {name.replace("_", "-"): value for name, value in changed.items()}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"POST /webhooks/crm HTTP/1.1\r\n{text}\r\n".encode() + sent


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def is_last(self) -> bool:
        return self.headers.get("connection") == "close"


class Wire:
    """One connection; ``async with Wire(port) as wire``."""

    def __init__(self, port: int, *, limit: int = 65_536) -> None:
        self._port = port
        self._limit = limit
        self._parser = httptools.HttpResponseParser(self)
        self._answers: list[Answer] = []
        self._answer = Answer()
        self.continued = 0
        """Times that the gate asked for the body."""

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port, limit=self._limit)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.transport.abort()

    async def send(self, *pieces: bytes) -> None:
        """Send each piece as a segment of its own. A gate that has closed meanwhile is no error."""
        try:
            for piece in pieces:
                if self.writer.is_closing():
                    return
                self.writer.write(piece)
                await self.writer.drain()
                if len(pieces) > 1:
                    await asyncio.sleep(0)
        except ConnectionError:
            pass

    def end(self) -> None:
        """Send no more, but go on reading."""
        self.writer.write_eof()

    def vanish(self) -> None:
        """Be gone as one whose process was killed: with a reset, which is no end of sending."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def answer(self, *, seconds: float = 20.0) -> Answer:
        """Return the next answer; fail when none comes."""
        async with asyncio.timeout(seconds):
            while not self._answers:
                data = await self.reader.read(65_536)
                assert data, "closed without an answer"
                self._parser.feed_data(data)
        return self._answers.pop(0)

    async def rest(self, *, seconds: float = 20.0) -> list[Answer]:
        """Return all answers until the gate closes; fail when it does not."""
        async with asyncio.timeout(seconds):
            try:
                while data := await self.reader.read(65_536):
                    self._parser.feed_data(data)
            except ConnectionResetError:
                pass
        found, self._answers = self._answers, []
        return found

    # Called by the parser

    def on_message_begin(self) -> None:
        self._answer = Answer()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._answer.body += body

    def on_message_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        if self._answer.status == 100:
            self.continued += 1
        else:
            self._answers.append(self._answer)


async def ask(port: int, *pieces: bytes, end: bool = False) -> list[Answer]:
    """Return all that is answered to ``pieces`` on a connection of their own, until the gate closes it."""
    async with Wire(port) as wire:
        await wire.send(*pieces)
        if end:
            wire.end()
        return await wire.rest()


class GateProcess:
    """`tidegate ingest` with the source ``crm`` and settings of [ingest]."""

    def __init__(
        self, folder: Path, *, redis_url: str, prefix: str, words: Iterable[str] = (), **ingest: int | float
    ) -> None:
        with listen("127.0.0.1", 0) as listener:
            self.port: int = listener.getsockname()[1]
        settings = "".join(f"{name} = {value}\n" for name, value in {"inbox_rows_max": 0, **ingest}.items())
        config = folder / "tidegate.toml"
        config.write_text(
            f'redis_url = "{redis_url}"\nlog_format = "json"\n[stream]\nprefix = "{prefix}"\nshards = 2\n'
            f'[sources.crm]\nprovider = "standard-webhooks"\nsecrets = ["{SECRET}"]\n'
            f'[ingest]\nhost = "127.0.0.1"\nport = {self.port}\n{settings}'
        )
        words = [*words, sys.executable, "-m", "tidegate", "-c", str(config), "ingest"]
        self.process = Process("gate", words, folder, health_port=self.port)
        try:
            self.process.wait_ready()
        except BaseException:
            self.process.stop()
            raise

    @property
    def rss_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def log(self) -> str:
        return self.process.log.read_text("utf-8", "replace")

    def metric(self, name: str) -> float:
        """Return the value of the time series ``name``, labels and all."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return float(next(line for line in lines if line.startswith(name)).rpartition(" ")[2])

    async def accepts(self, *, seconds: float = 20.0) -> None:
        """Fail unless a good request on a fresh connection is answered 202 within ``seconds``."""
        async with asyncio.timeout(seconds), Wire(self.port) as wire:
            await wire.send(signed())
            answer = await wire.answer()
        assert answer.status == 202, answer
