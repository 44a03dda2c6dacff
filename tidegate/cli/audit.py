"""`tidegate audit`"""

from __future__ import annotations

import json
import sys

import click
from rich.console import Console

from dlq.audit import take
from tidegate.cli import sheet, watching
from tidegate.cli.context import Context, opened_postgres, opened_stream
from tidegate.ledger import Audit
from tidegate.settings import Settings

WATCH_EVERY_SECONDS = 2.0


@click.command("audit")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch an object a line.")
@click.option("--watch", is_flag=True, help="Go on looking until Ctrl-C or SIGTERM.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help=f"Time between two looks of --watch. [default: {WATCH_EVERY_SECONDS:g}]",
)
@click.pass_obj
def command(context: Context, as_json: bool, watch: bool, every: float | None) -> None:
    """Show both sides of the ledger: what came in, and where it is now. Exit 1 when something is unaccounted for.

    With --watch: the same again and again, in place on a terminal, else a line a look. It waits for servers that go away,
    and its exit code tells whether any look found something unaccounted for.
    """
    if every is not None and not watch:
        raise click.UsageError("--every belongs to --watch, which was not given")
    settings = context.settings()
    if watch:
        sys.exit(0 if _watch(context, settings, WATCH_EVERY_SECONDS if every is None else every, as_json) else 1)
    result = context.run(_audit(settings))
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=2))
    else:
        show(result, Console())
    sys.exit(1 if result.unaccounted else 0)


def _watch(context: Context, settings: Settings, every_seconds: float, as_json: bool) -> bool:
    console = Console()
    on_screen = console.is_terminal and not as_json
    opened, view = watching.screen(console, every_seconds) if on_screen else watching.lines(as_json=as_json)
    with opened:
        return context.run(watching.Watch(lambda: _audit(settings), view, every_seconds=every_seconds).run())


async def _audit(settings: Settings) -> Audit:
    async with opened_stream(settings) as stream, opened_postgres(settings, "tidegate audit") as connection:
        return await take(stream, connection)


def show(result: Audit, console: Console) -> None:
    """Print the two sides, by source, and the verdict."""
    console.print(sheet.sides(result))
    console.print(sheet.verdict(result))
