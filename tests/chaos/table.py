"""What a person reads at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tests.chaos.driver import ENDS, Result
from tests.chaos.memory import MIB
from tests.chaos.overload import MEANT
from tests.chaos.overload import Result as Overloaded
from tests.chaos.provider import Identity
from tests.chaos.system import LEASE_SECONDS


def show(result: Result, console: Console) -> None:
    """Print the faults by kind, the books, and the verdict."""
    kinds = Table(title="Faults", title_justify="left", title_style="bold", box=SIMPLE, show_header=False)
    kinds.add_column("kind")
    kinds.add_column("times", justify="right")
    for name, times in sorted(result.struck.items()):
        kinds.add_row(name, str(times))
    kinds.add_section()
    kinds.add_row("all", str(sum(result.struck.values())), style="bold")
    console.print(kinds)
    books = Table(title="Books", title_justify="left", title_style="bold", box=SIMPLE, show_header=False)
    books.add_column("what")
    books.add_column("how much", justify="right")
    books.add_column("note", style="dim")
    for row in _rows(result):
        books.add_row(*row)
    console.print(books)
    for note in result.watch.notes:
        console.print(f"[yellow]{note}[/yellow]")
    for problem in result.verdict.problems:
        console.print(f"[bold red]{problem}[/bold red]", soft_wrap=True)


def _innocents(names: Sequence[Identity]) -> str:
    some = ", ".join(" ".join(name) for name in names[:5])
    return f"crash_loop, though they harm nobody: {some}" if names else "crash_loop, though they harm nobody"


def _endings(ended: Sequence[tuple[str, int]]) -> str:
    codes = Counter(code for _, code in ended)
    return ", ".join(f"{times} with {code} ({ENDS.get(code, 'why?')})" for code, times in sorted(codes.items()))


def _rows(result: Result) -> list[tuple[str, str, str]]:
    verdict, provider, watch = result.verdict, result.provider, result.watch
    ledger = verdict.ledger
    answers = ", ".join(f"{count:,} x {name}" for name, count in sorted(provider.answers.items()))
    letters = ", ".join(f"{count} {reason}" for reason, count in sorted(verdict.letters.items()))
    takeovers = watch.takeovers
    return [
        ("events sent", f"{provider.events:,}", f"repetitions included; {len(provider.accepted):,} distinct"),
        ("answers", f"{sum(provider.answers.values()):,}", answers),
        ("posts whose fate was never learnt", str(len(provider.unknown)), "broken off, and not accepted since"),
        ("accepted", f"{ledger.get('accepted', 0):,}", f"{provider.repeated:,} more recognised at the gate"),
        ("applied", f"{verdict.applied:,}", f"{ledger.get('applied', 0):,} in the ledger"),
        ("ignored", f"{verdict.ignored:,}", ""),
        ("duplicate", f"{ledger.get('duplicate', 0):,}", "past the gate, recognised by Postgres"),
        ("dead", f"{ledger.get('dead', 0):,}", letters),
        ("innocent letters", str(len(verdict.innocents)), _innocents(verdict.innocents)),
        ("lost", str(verdict.lost), ""),
        ("doubled", str(verdict.doubled), ""),
        ("unaccounted", str(verdict.unaccounted), "tidegate audit"),
        ("longest stall", f"{watch.stall_seconds_max:.1f} s", "something waited and nothing was settled"),
        (
            "worst takeover",
            f"{max(takeovers):.1f} s" if takeovers else "-",
            f"after SIGKILL of a worker, {len(takeovers)} times; promised {LEASE_SECONDS + 2:.0f} s; "
            f"{watch.disturbed} more were disturbed by another fault",
        ),
        (
            "durable in",
            f"{sum(provider.tiers.values()):,}",
            ", ".join(f"{n:,} x {t}" for t, n in provider.tiers.items()),
        ),
        ("gate memory", f"{result.gate_bytes_max / MIB:.0f} MiB", "the most any gate process held"),
        ("worker memory", f"{result.rss_bytes_max / MIB:.0f} MiB", "the most any worker held"),
        ("ended by themselves", str(len(result.ended)), _endings(result.ended)),
        ("zombies", str(watch.zombies), f"{watch.zombies_robbed} woke when others had applied what they held"),
        ("time", f"{result.seconds:.0f} s", f"{provider.events / result.seconds:,.0f} events/s"),
        ("seed", str(result.options.seed), ""),
    ]


def show_overload(result: Overloaded, console: Console) -> None:
    """Print what was answered, what it cost in memory, and what is wrong."""
    table = Table(title="Overload", title_justify="left", title_style="bold", box=SIMPLE, show_header=False)
    table.add_column("what")
    table.add_column("how much", justify="right")
    table.add_column("note", style="dim")
    for said, count in sorted(result.answers.items()):
        table.add_row(said, f"{count:,}", MEANT.get(said, "nobody should get this"))
    table.add_section()
    table.add_row("offered", f"{result.times:.1f} x", "what was taken")
    table.add_row("Redis away", f"{result.away_share:.0%}", "of the time under load")
    peaks = ", ".join(f"{held / MIB:.0f} {phase}" for phase, held in result.memory.peaks_bytes.items())
    table.add_row(
        "gate memory",
        f"{result.memory.peak_bytes / MIB:.0f} MiB",
        f"from {result.memory.base_bytes / MIB:.0f}; {peaks}",
    )
    table.add_row(
        "slowest /livez", f"{max(result.livez_seconds, default=0):.2f} s", f"of {len(result.livez_seconds):,}"
    )
    table.add_row("accepted", f"{len(result.accepted):,}", f"{len(result.stored):,} applied, {result.letters} letters")
    table.add_row("unaccounted", str(result.audit.get("unaccounted", "?")), "tidegate audit")
    console.print(table)
    for problem in result.problems:
        console.print(f"[bold red]{problem}[/bold red]", soft_wrap=True)
