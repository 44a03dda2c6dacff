"""`tidegate consume`"""

from __future__ import annotations

import socket

import click

from consumer import service
from tidegate.cli.context import Context, given
from tidegate.errors import UsageError
from tidegate.serving import listen
from tidegate.settings import Settings
from tidegate.telemetry import logs

log = logs.get(__name__)


@click.command("consume")
@click.argument("handlers", required=False, metavar="[MODULE:HANDLERS]")
@click.option("--batch", type=click.IntRange(1, 5000), help="Events in one transaction, at most. [default: 500]")
@click.option("--concurrency", type=click.IntRange(1, 64), help="Batches in work at once. [default: 2]")
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), help="Port of /livez, /readyz, /metrics. [default: 9464]"
)
@click.option("--drain", is_flag=True, help="Work until nothing is left on the streams, then exit.")
@click.pass_obj
def command(
    context: Context,
    handlers: str | None,
    batch: int | None,
    concurrency: int | None,
    metrics_port: int | None,
    drain: bool,
) -> None:
    """Run a worker: apply events to Postgres with your handlers, or with the built-in engagement read model.

    Start as many as you like, on as many machines. SIGTERM or Ctrl-C: finish what is in work, hand back the rest; a second
    one: leave at once, and lose nothing.
    """
    settings = context.settings()
    changed = settings.consumer.model_copy(
        update=given(handlers=handlers, batch=batch, concurrency=concurrency, metrics_port=metrics_port)
    )
    settings = settings.model_copy(update={"consumer": changed})
    context.run(service.consume(settings, _listener(settings, chosen=metrics_port is not None), drain=drain))


def _listener(settings: Settings, *, chosen: bool) -> socket.socket:
    """Return the socket of the health endpoints; a second worker on one machine takes any free port and says so."""
    host, port = settings.consumer.metrics_host, settings.consumer.metrics_port
    try:
        listener = listen(host, port)
    except UsageError:
        if chosen:
            raise
        listener = listen(host, 0)
        log.warning("metrics port is taken; using another", taken=port, port=listener.getsockname()[1])
    return listener
