"""A real gate as a process of its own, and HTTP as raw bytes: what a client may send is not what a library would."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest.adapters import build
from ingest.adapters.base import Adapter
from tidegate.cli.stack import Process
from tidegate.serving import listen

ANSWER_SECONDS = 20.0
"""Nothing takes so long but a gate that hangs."""
BODY_BYTES_MAX = 65_536

PROVIDERS = {"crm": "standard-webhooks", "lemlist": "lemlist", "hubspot": "hubspot", "mail": "svix"}
SECRETS = {
    "crm": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "lemlist": "whk_Zq2kYp8Vw4LemlistSecret",
    "hubspot": "7f1c9a3e-hubspot-client-secret",
    "mail": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
}


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

    def send(self, *pieces: bytes, reset: bool = False) -> list[Answer]:
        """Send ``pieces`` one after the other on a connection of their own, and return every answer until it is closed.

        Our side is closed for sending after the last piece, so that a gate that still waits for more learns that no
        more will come. With ``reset`` we are gone before there can be an answer.
        """
        with socket.create_connection((self.host, self.port), timeout=ANSWER_SECONDS) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(ConnectionError):  # refused while we were still sending: there may be an answer
                for piece in pieces:
                    connection.sendall(piece)
                if reset:
                    return []
                connection.shutdown(socket.SHUT_WR)
            return list(_answers(_all(connection)))

    def good(self, source: str, body: bytes, message_id: str) -> Answer:
        """Send ``body`` as the provider of ``source`` would; return the answer."""
        (answer,) = self.send(render(source, *self.sign(source, body, message_id)))
        return answer

    def sign(self, source: str, body: bytes, message_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Return headers and body of an authentic request, Host among the headers."""
        headers, signed = self.adapters[source].sign(
            body, url=f"{self.url}/webhooks/{source}", now_seconds=time.time(), message_id=message_id
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


def render(
    source: str,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    *,
    method: bytes = b"POST",
    target: bytes | None = None,
    chunked: bool = False,
) -> bytes:
    """Return the bytes of a request; its length is announced truly, unless ``headers`` say another."""
    target = f"/webhooks/{source}".encode() if target is None else target
    if chunked:
        framing, sent = (b"Transfer-Encoding", b"chunked"), b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        sent = sent if body else b"0\r\n\r\n"
    else:
        framing, sent = (b"Content-Length", str(len(body)).encode()), body
    lines = [b"%s %s HTTP/1.1" % (method, target), *(b"%s: %s" % pair for pair in [*headers, framing])]
    return b"\r\n".join(lines) + b"\r\n\r\n" + sent


@contextmanager
def running(folder: Path, redis_url: str, postgres_url: str, prefix: str, *, toml: str = "") -> Iterator[Gate]:
    """Start `tidegate ingest` with all providers over given servers; stop it at the end. ``toml`` is added to [ingest]."""
    with listen("127.0.0.1", 0) as listener:
        port: int = listener.getsockname()[1]
    config = folder / "tidegate.toml"
    sources = "".join(
        f'[sources.{name}]\nprovider = "{provider}"\nsecrets = ["{SECRETS[name]}"]\n'
        for name, provider in PROVIDERS.items()
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
        yield Gate("127.0.0.1", port, process, adapters)
    finally:
        process.stop()


def _all(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):  # closed on us with bytes of ours unread: that is a reset
        while piece := connection.recv(65_536):
            received += piece
    return received


def _answers(received: bytes) -> Iterator[Answer]:
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        # An answer that we send in part only has no length: it would be the last one.
        length = int(headers.get("content-length", len(rest)))
        body, received = rest[:length], rest[length:]
        if status >= 200:  # else 100 Continue
            yield Answer(status, headers, body, f"{head.decode('latin-1')}\n{body.decode('utf-8', 'replace')}")
