"""`tidegate ingest`"""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from tidegate.cli.context import Context, given
from tidegate.errors import UsageError
from tidegate.serving import listen, passed_listener
from tidegate.settings import Settings
from tidegate.telemetry import logs, shared

# ingest.* declares metrics, and has to be imported after it is settled where they are kept: see _supervise.

log = logs.get(__name__)


@click.command("ingest")
@click.option("--host", help="Address to listen on. [default: 0.0.0.0]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0: any free one. [default: 8080]")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    help="Processes that share the port, under a supervisor if there is more than one. [default: 1]",
)
@click.pass_obj
def command(context: Context, host: str | None, port: int | None, workers: int | None) -> None:
    """Run the gate: POST /webhooks/{source}, verified, on disk in Redis, then answered 202.

    SIGTERM or Ctrl-C: /readyz turns 503; for ingest.notice_seconds the gate goes on, closing each connection it answers;
    then it accepts no more and finishes what is under way within ingest.drain_seconds. A second one skips the notice.

    With --workers above 1 a process that dies or hangs is replaced, /metrics of any shows the sum of all, and SIGHUP reads
    the settings again: new processes take over from the old ones, one after another, and no connection is refused. Settings
    that are wrong or do not work cost an error line, and the old processes go on. Host and port stay as they are. A lone
    process takes SIGHUP for SIGTERM.

    A listening socket passed by systemd (socket activation) is used instead of --host and --port: then a restart of the
    whole service refuses no connection either.
    """

    def read() -> Settings:
        settings = context.settings()
        changed = settings.ingest.model_copy(update=given(host=host, port=port, workers=workers))
        return settings.model_copy(update={"ingest": changed})

    settings = read()
    if settings.ingest.workers > 1:
        sys.exit(_supervise(context, settings, read))
    from ingest import service

    service.sources(settings)  # settings errors before the port is taken
    listener, outlived = _listener(settings)
    context.run(service.serve(settings, listener, outlived=outlived))


def _listener(settings: Settings) -> tuple[socket.socket, bool]:
    """Return the socket to listen on, and whether it outlives us."""
    passed = passed_listener()
    return (passed, True) if passed is not None else (listen(settings.ingest.host, settings.ingest.port), False)


def _supervise(context: Context, settings: Settings, read: Callable[[], Settings]) -> int:
    """Serve from several processes until told to stop; return the exit code."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="tidegate-metrics-")
    except OSError as error:
        raise UsageError(f"no place for the metrics that the processes share: {error}: set TMPDIR") from None
    with folder as path:
        shared.share(Path(path))
        from ingest import service
        from ingest.child import Edition
        from ingest.link import Link
        from ingest.supervisor import Supervisor

        service.sources(settings)  # settings errors before the port is taken
        listener, outlived = _listener(settings)

        def edition(settings: Settings) -> Edition:
            service.sources(settings)

            def serve(parent: Link) -> None:
                context.run(service.serve(settings, listener, parent=parent, outlived=outlived))

            options = settings.ingest
            return Edition(options.workers, options.notice_seconds + options.drain_seconds, serve)

        def reread() -> Edition:
            changed = read()
            address, was = ((each.ingest.host, each.ingest.port) for each in (changed, settings))
            if address != was:
                log.warning("host and port stay as they were: they take effect at the next start", stays=was)
            return edition(changed)

        return Supervisor(edition(settings), reread, listener).run()
