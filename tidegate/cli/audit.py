"""`tidegate audit`"""

from __future__ import annotations

import json
import sys

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from dlq.audit import take
from tidegate import ledger
from tidegate.cli.context import Context, opened_postgres, opened_stream
from tidegate.ledger import Audit
from tidegate.settings import Settings


@click.command("audit")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> None:
    """Show both sides of the ledger: what came in, and where it is now. Exit 1 when something is unaccounted for."""
    result = context.run(_audit(context.settings()))
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=2))
    else:
        show(result, Console())
    sys.exit(1 if result.unaccounted else 0)


async def _audit(settings: Settings) -> Audit:
    async with opened_stream(settings) as stream, opened_postgres(settings, "tidegate audit") as connection:
        return await take(stream, connection)


def show(result: Audit, console: Console) -> None:
    """Print the two sides, by source, and the verdict."""
    balance = result.balance
    sources = Table(title="Ledger", title_justify="left", title_style="bold", header_style="bold", box=SIMPLE)
    sources.add_column("source")
    names = [name for name in (*ledger.IN, *ledger.OUT) if name != "foreign" or balance.foreign]
    for name in names:
        sources.add_column(name, justify="right")
    for source, row in result.by_source.items():
        sources.add_row(source, *(f"{row[name]:,}" for name in names))
    sources.add_section()
    sources.add_row("all", *(f"{getattr(balance, name):,}" for name in names), style="bold")
    console.print(sources)
    sides = Table.grid(padding=(0, 2))
    sides.add_column()
    sides.add_column(justify="right")
    came = f"{balance.accepted:,} accepted + {balance.replayed:,} replayed"
    sides.add_row("came in", f"{balance.came:,}", came + (f" + {balance.foreign:,} foreign" if balance.foreign else ""))
    sides.add_row(
        "found",
        f"{balance.found:,}",
        f"{balance.applied:,} applied + {balance.duplicate:,} duplicate + {balance.ignored:,} ignored + {balance.dead:,} dead"
        f" + {balance.waiting:,} on the stream + {balance.retrying:,} waiting for a retry",
    )
    under_way = f", {balance.pending:,} in work" if balance.pending else ""
    sides.add_row("Postgres", "", f"{result.stored.events:,} events, {result.stored.deaths:,} deaths{under_way}")
    console.print(sides)
    if result.missing_events or result.missing_letters:
        console.print(
            f"[red]Postgres differs from the ledger: {-result.missing_events:+,} events, "
            f"{-result.missing_letters:+,} deaths[/red]"
        )
    colour = "red" if result.unaccounted else "green"
    console.print(f"[bold {colour}]unaccounted {result.unaccounted}[/bold {colour}]")
