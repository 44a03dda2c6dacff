"""Running an ASGI application with uvicorn inside a process that handles its own signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Literal, TypeVar

import uvicorn
import uvloop
from starlette.types import ASGIApp

from tidegate.errors import UsageError

T = TypeVar("T")

_FIRST_PASSED = 3  # SD_LISTEN_FDS_START


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: a process with more than a server in it decides itself when to stop."""

    on_started: Callable[[], None] | None = None
    """Called once connections are accepted."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.on_started is not None:
            self.on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Accept no more; `serve` returns when the requests under way are answered."""
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise UsageError when the address is taken or not ours. Port 0: any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio sets no TCP_NODELAY
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}: choose another --port") from None
    listener.listen(2048)
    listener.setblocking(False)
    return listener


def passed_listener() -> socket.socket | None:
    """Return the listening socket that systemd (or whoever speaks as it does) passed to this process; None: there is none.

    It outlives us: between two runs of the process connections wait in its queue instead of being refused.
    Raises UsageError when it is not one TCP socket.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = os.environ.get("LISTEN_FDS", "0")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)  # no process of ours may take them for its own
    if count != "1":
        raise UsageError(f"got {count} sockets from the service manager: pass one, a single ListenStream=")
    os.set_inheritable(_FIRST_PASSED, False)
    listener = socket.socket(fileno=_FIRST_PASSED)
    if listener.family not in (socket.AF_INET, socket.AF_INET6) or not listener.getsockopt(
        socket.SOL_SOCKET, socket.SO_ACCEPTCONN
    ):
        raise UsageError("the socket from the service manager is not one that listens for TCP: use ListenStream=8080")
    listener.setblocking(False)
    return listener


def server(
    app: ASGIApp,
    *,
    drain_seconds: float = 10.0,
    lifespan: bool = False,
    http: type[asyncio.Protocol] | Literal["httptools"] = "httptools",
    keep_alive_seconds: int = 30,
    trusted_proxies: Sequence[str] = (),
) -> Server:
    """Return a server for ``app``; serve it on a socket of `listen`. ``http`` is how it talks; see ingest/protocol.py.

    ``trusted_proxies``: addresses and networks whose X-Forwarded-For and -Proto are believed.
    """
    return Server(
        uvicorn.Config(
            app,
            http=http,
            ws="none",
            lifespan="on" if lifespan else "off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
            timeout_keep_alive=keep_alive_seconds,
            timeout_graceful_shutdown=max(1, round(drain_seconds)),
        )
    )


def on_stop_signals(stop: Callable[[], None], leave: Callable[[], None] | None = None) -> None:
    """Call ``stop`` on the first SIGTERM or SIGINT, and ``leave`` on any further one."""
    loop = asyncio.get_running_loop()
    seen = 0

    def received() -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            stop()
        elif leave is not None:
            leave()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received)


async def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` until it ends, or SIGTERM or SIGINT cancels it. Raises what it raises, save for a reader that is gone."""
    stopped = asyncio.Event()
    on_stop_signals(stopped.set)
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (working, stopping):
        task.cancel()
    await asyncio.gather(working, stopping, return_exceptions=True)
    if not working.cancelled():
        with contextlib.suppress(BrokenPipeError):  # `tidegate audit --watch | head`: an end like any other
            working.result()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
