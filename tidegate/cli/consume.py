"""`tidegate consume`"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from consumer import service
from consumer.draining import Drain, Left
from tidegate.cli.context import Context, given
from tidegate.errors import UsageError
from tidegate.serving import listen
from tidegate.settings import Settings
from tidegate.telemetry import logs

log = logs.get(__name__)

BAR_EVERY_SECONDS = 0.2


@click.command("consume")
@click.argument("handlers", required=False, metavar="[MODULE:HANDLERS]")
@click.option("--batch", type=click.IntRange(1, 5000), help="Events in one transaction, at most. [default: 500]")
@click.option("--concurrency", type=click.IntRange(1, 64), help="Batches in work at once. [default: 2]")
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), help="Port of /livez, /readyz, /metrics. [default: 9464]"
)
@click.option("--drain", is_flag=True, help="Work until nothing is left on the streams, retries included, then exit.")
@click.option(
    "--drain-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up draining after so long, finish what is in work, and exit 1. [default: 7200]",
)
@click.pass_obj
def command(
    context: Context,
    handlers: str | None,
    batch: int | None,
    concurrency: int | None,
    metrics_port: int | None,
    drain: bool,
    drain_limit: float | None,
) -> None:
    """Run a worker: apply events to Postgres with your handlers, or with the built-in engagement read model.

    Start as many as you like, on as many machines. SIGTERM or Ctrl-C: finish what is in work, hand back the rest; a second
    one: leave at once, and lose nothing.

    With --drain the exit code says whether the streams are empty: 0, or 1 when something was left, be it that the limit was
    reached or that somebody stopped it.
    """
    if drain_limit is not None and not drain:
        raise click.UsageError("--drain-limit limits --drain, which was not given")
    settings = context.settings()
    changed = settings.consumer.model_copy(
        update=given(
            handlers=handlers,
            batch=batch,
            concurrency=concurrency,
            metrics_port=metrics_port,
            drain_limit_seconds=drain_limit,
        )
    )
    settings = settings.model_copy(update={"consumer": changed})
    listener = _listener(settings, chosen=metrics_port is not None)
    if not drain:
        context.run(service.consume(settings, listener))
        return
    with _drain(settings) as limited:
        drained = context.run(service.consume(settings, listener, drain=limited))
    sys.exit(0 if drained else 1)


@contextmanager
def _drain(settings: Settings) -> Iterator[Drain]:
    """Yield a drain that shows its progress: as a bar to a person at a terminal, else in the log."""
    limit = settings.consumer.drain_limit_seconds
    console = Console(stderr=True)
    if not console.is_terminal or settings.log_format == "json":
        yield Drain(limit)
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", style="dim"),
        console=console,
    ) as progress:
        # Again, now that stderr is the bar's: a line written past it would tear it. And a line a batch would push it away.
        logs.configure("warning" if settings.log_level == "info" else settings.log_level, settings.log_format)
        task = progress.add_task("draining", total=None, left="")

        def show(left: Left) -> None:
            progress.update(
                task,
                completed=left.done,
                total=left.total,
                description="draining" if left.count else "drained",
                left=str(left) if left.count else "",
            )

        try:
            yield Drain(limit, report=show, report_every_seconds=BAR_EVERY_SECONDS)
        finally:
            progress.refresh()
    logs.configure(settings.log_level, settings.log_format)


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
