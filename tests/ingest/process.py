"""A real gate as a process of its own, and HTTP as raw bytes: what a client may send is not what a library would."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest.adapters import build
from ingest.adapters.base import Adapter
from tidegate.cli.stack import Process
from tidegate.serving import listen

Pairs = list[tuple[bytes, bytes]]
"""Headers as they are sent."""
ANSWER_SECONDS = 20.0
"""Nothing takes so long but a gate that hangs."""
MOMENT_SECONDS = 0.03
"""So long a gate that could answer takes at most, as a rule; where it takes longer a test sees one answer less."""
BODY_BYTES_MAX = 262_144

PROVIDERS = {"crm": "standard-webhooks", "lemlist": "lemlist", "hubspot": "hubspot", "mail": "svix"}
SECRETS = {
    "crm": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "lemlist": "whk_Zq2kYp8Vw4LemlistSecret",
    "hubspot": "7f1c9a3e-hubspot-client-secret",
    "mail": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
}

GREETING = {"chat": "slack", "events": "cloudevents", "social": "meta"}
"""Sources beside those whose providers ask first whether somebody is there: with POST, OPTIONS and GET."""
GREETING_SECRET = "c9b1-secret-of-those-that-greet"
VERIFY_TOKEN = "v7-token-of-the-handshake"


@dataclass
class Answer:
    """One HTTP answer. ``text`` is all of it as it came, headers and body, for whoever looks for a leak."""

    status: int
    headers: dict[str, str]
    body: bytes
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Gate:
    """A running gate: where it listens, what its process is, and what it has logged."""

    host: str
    port: int
    process: Process
    adapters: dict[str, Adapter]
    _read_to: int = field(default=0)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def ask(self, *pieces: bytes, head: bool = False) -> Answer:
        """Send one whole request in ``pieces``, on a connection of its own; return its answer.

        ``head``: it is a HEAD, whose answer names the length of a body that it does not have.
        """
        with self._connection() as connection:
            _send(connection, pieces)
            received = _receive(connection, until=lambda so_far: bool(_answers(so_far, head=head)))
        answers = _answers(received, head=head)
        assert len(answers) == 1, f"{len(answers)} answers to one request: {received[:500]!r}"
        return answers[0]

    def provoke(self, *pieces: bytes) -> list[Answer]:
        """Send what may be less or more than a request; return the answers, none if the gate just closes or waits.

        The gate has a moment to answer what it can, then hears that no more will come.
        """
        with self._connection() as connection:
            _send(connection, pieces)
            connection.settimeout(MOMENT_SECONDS)
            received = _receive(connection)
            connection.settimeout(ANSWER_SECONDS)
            with contextlib.suppress(OSError):  # it has closed already
                connection.shutdown(socket.SHUT_WR)
            received += _receive(connection)
        return _answers(received)

    def _connection(self) -> socket.socket:
        connection = socket.create_connection((self.host, self.port), timeout=ANSWER_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def sign(self, source: str, body: bytes, message_id: str, suffix: str = "") -> tuple[Pairs, bytes]:
        """Return headers and body of an authentic request, Host among the headers. ``suffix`` is added to its path."""
        headers, signed = self.adapters[source].sign(
            body, url=f"{self.url}/webhooks/{source}{suffix}", now_seconds=time.time(), message_id=message_id
        )
        host = (b"Host", f"{self.host}:{self.port}".encode())
        return [host, *((name.encode(), value.encode("latin-1")) for name, value in headers)], signed

    def new_log(self) -> list[str]:
        """Return the lines logged since this was last asked."""
        with self.process.log.open("rb") as log:
            log.seek(self._read_to)
            lines = log.read()
        self._read_to += len(lines)
        return lines.decode("utf-8", "replace").splitlines()


def render(target: bytes, headers: Pairs, body: bytes, *, method: bytes = b"POST", chunked: bool = False) -> bytes:
    """Return the bytes of a request; its length is announced truly, whatever ``headers`` say."""
    if chunked:
        framing = (b"Transfer-Encoding", b"chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    else:
        framing = (b"Content-Length", str(len(body)).encode())
    lines = [b"%s %s HTTP/1.1" % (method, target), *(b"%s: %s" % pair for pair in [*headers, framing])]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@contextmanager
def running(folder: Path, redis_url: str, postgres_url: str, prefix: str, *, toml: str = "") -> Iterator[Gate]:
    """Start `tidegate ingest` with all providers over given servers; stop it at the end. ``toml`` is added to [ingest]."""
    with listen("127.0.0.1", 0) as listener:
        port: int = listener.getsockname()[1]
    config = folder / "tidegate.toml"
    sources = "".join(
        f'[sources.{name}]\nprovider = "{provider}"\nsecrets = ["{SECRETS[name]}"]\n'
        for name, provider in PROVIDERS.items()
    ) + "".join(
        f'[sources.{name}]\nprovider = "{provider}"\nsecrets = ["{GREETING_SECRET}"]\nhandshake_secret = "{VERIFY_TOKEN}"\n'
        for name, provider in GREETING.items()
    )
    config.write_text(
        f'redis_url = "{redis_url}"\npostgres_url = "{postgres_url}"\nlog_format = "json"\n'
        f'[stream]\nprefix = "{prefix}"\n[ingest]\nbody_bytes_max = {BODY_BYTES_MAX}\n{toml}\n{sources}'
    )
    words = [sys.executable, "-m", "tidegate", "-c", str(config), "ingest", "--host", "127.0.0.1", "--port", str(port)]
    process = Process("gate", words, folder, health_port=port)
    try:
        process.wait_ready()
        adapters = {name: build(provider, [SECRETS[name]]) for name, provider in PROVIDERS.items()}
        adapters |= {name: build(provider, [GREETING_SECRET]) for name, provider in GREETING.items()}
        yield Gate("127.0.0.1", port, process, adapters)
    finally:
        process.stop()


def _send(connection: socket.socket, pieces: Sequence[bytes]) -> None:
    with contextlib.suppress(ConnectionError):  # refused while we are still sending: there may be an answer
        for piece in pieces:
            connection.sendall(piece)


def _receive(connection: socket.socket, until: Callable[[bytes], bool] = lambda _: False) -> bytes:
    """Return what comes ``until`` that is enough, the gate closes, or it has said nothing for a whole time-out."""
    received = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while not until(received) and (piece := connection.recv(65_536)):
            received += piece
    return received


def _answers(received: bytes, *, head: bool = False) -> list[Answer]:
    """Return the whole answers in ``received``, interim ones (100 Continue) left out."""
    found: list[Answer] = []
    while True:
        top, end, rest = received.partition(b"\r\n\r\n")
        if not end:
            return found
        first, *lines = top.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if head or status < 200 else int(headers.get("content-length", len(rest)))
        if len(rest) < length:
            return found
        body, received = rest[:length], rest[length:]
        if status >= 200:
            found.append(Answer(status, headers, body, f"{top.decode('latin-1')}\n{body.decode('utf-8', 'replace')}"))
