"""`tidegate ingest`"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from typing import Any

import click

from ingest import service
from tidegate.cli.context import Context, given
from tidegate.serving import listen
from tidegate.settings import Settings


@click.command("ingest")
@click.option("--host", help="Address to listen on. [default: 0.0.0.0]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0: any free one. [default: 8080]")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    help="Processes that share the port; /metrics then shows any one of them. [default: 1]",
)
@click.pass_obj
def command(context: Context, host: str | None, port: int | None, workers: int | None) -> None:
    """Run the gate: POST /webhooks/{source}, verified, on disk in Redis, then answered 202.

    Stops on SIGTERM or Ctrl-C when the requests under way are answered.
    """
    settings = context.settings()
    changed = settings.ingest.model_copy(update=given(host=host, port=port, workers=workers))
    settings = settings.model_copy(update={"ingest": changed})
    service.sources(settings)  # settings errors before the port is taken, and once rather than once a process
    listener = listen(changed.host, changed.port)
    if changed.workers == 1:
        context.run(service.serve(settings, listener))
    else:
        sys.exit(_fork(context, settings, listener, changed.workers))


def _die_with_parent() -> None:
    """Linux: SIGTERM when the parent is killed, or its port would stay taken by processes nobody knows of."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _fork(context: Context, settings: Settings, listener: socket.socket, workers: int) -> int:
    """Serve from ``workers`` processes; when one dies the others are stopped: a supervisor restarts the whole.

    The socket is shared, so a request that arrives while one process leaves is taken by another.
    """
    children: set[int] = set()
    for _ in range(workers):
        child = os.fork()
        if child == 0:
            _die_with_parent()
            context.run(service.serve(settings, listener))
            sys.exit(0)
        children.add(child)

    def pass_on(number: int, _frame: Any) -> None:
        for child in children:
            os.kill(child, number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    worst = 0
    while children:
        child, status = os.wait()
        children.discard(child)
        code = os.waitstatus_to_exitcode(status)
        if code:
            worst = worst or (code if code > 0 else 1)
            for other in children:
                os.kill(other, signal.SIGTERM)
    return worst
