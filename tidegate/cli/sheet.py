"""An audit as a person reads it: the two sides, by source, and the verdict."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tidegate import ledger
from tidegate.ledger import Audit


def verdict(result: Audit) -> Text:
    """Return the line that matters."""
    return Text(f"unaccounted {result.unaccounted}", style="bold red" if result.unaccounted else "bold green")


def sides(result: Audit, *, before: Audit | None = None, seconds: float = 0.0) -> RenderableType:
    """Return what came in and where it is, with what changed a second when a look ``seconds`` ``before`` is given."""
    parts: list[RenderableType] = [_sources(result, before, seconds), _totals(result, before, seconds)]
    if result.missing_events or result.missing_letters:
        differs = f"{-result.missing_events:+,} events, {-result.missing_letters:+,} deaths"
        parts.append(Text(f"Postgres differs from the ledger: {differs}", style="red"))
    if result.missing_inbox:
        differs = "too few" if result.missing_inbox > 0 else "too many"
        parts.append(
            Text(f"Rows of the inbox, changed by another hand: {abs(result.missing_inbox):,} {differs}", style="red")
        )
    parts += [Text(reset.sentence, style="yellow") for reset in result.resets]
    return Group(*parts)


def _sources(result: Audit, before: Audit | None, seconds: float) -> Table:
    balance = result.balance
    table = Table(title="Ledger", title_justify="left", title_style="bold", header_style="bold", box=SIMPLE)
    table.add_column("source")
    names = [name for name in (*ledger.IN, *ledger.OUT) if name != "foreign" or balance.foreign]
    for name in names:
        table.add_column(name, justify="right")
    for source, row in result.by_source.items():
        table.add_row(Text(source), *(f"{row[name]:,}" for name in names))
    table.add_section()
    table.add_row("all", *(f"{getattr(balance, name):,}" for name in names), style="bold")
    if before is not None:
        changes = [getattr(balance, name) - getattr(before.balance, name) for name in names]
        table.add_row("a second", *(_rate(change, seconds) for change in changes), style="cyan")
    return table


def _totals(result: Audit, before: Audit | None, seconds: float) -> Table:
    balance = result.balance
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    came = f"{balance.accepted:,} accepted + {balance.replayed:,} replayed"
    table.add_row("came in", f"{balance.came:,}", came + (f" + {balance.foreign:,} foreign" if balance.foreign else ""))
    table.add_row(
        "found",
        f"{balance.found:,}",
        f"{balance.applied:,} applied + {balance.duplicate:,} duplicate + {balance.ignored:,} ignored + {balance.dead:,} dead"
        f" + {balance.waiting:,} on the stream + {balance.retrying:,} waiting for a retry",
    )
    under_way = f", {balance.pending:,} in work" if balance.pending else ""
    table.add_row("Postgres", "", f"{result.stored.events:,} events, {result.stored.deaths:,} deaths{under_way}")
    inbox = result.stored.inbox
    if inbox.stored_total or inbox.counted_rows:
        moved = f"{inbox.stored_total:,} stored - {inbox.moved_total:,} moved"
        table.add_row("inbox", f"{inbox.counted_rows:,}", f"waiting for Redis, {moved}")
    if before is not None:
        waiting = _rate(balance.waiting - before.balance.waiting, seconds)
        retrying = _rate(balance.retrying - before.balance.retrying, seconds)
        change = f"{waiting} on the stream, {retrying} waiting for a retry"
        table.add_row(Text("a second", style="cyan"), "", Text(change, style="cyan"))
    return table


def _rate(change: int, seconds: float) -> str:
    rate = change / seconds if seconds > 0 else 0.0
    return f"{rate:+,.0f}" if abs(rate) >= 10 else f"{rate:+.1f}" if change else "0"
