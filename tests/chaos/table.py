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


def show_overload(result: Overloaded, console: Console) -> None:
    """Print what the gate held and answered, and the verdict."""
    figures = Table(title="Overload", title_justify="left", title_style="bold", box=SIMPLE, show_header=False)
    figures.add_column("what")
    figures.add_column("how much", justify="right")
    figures.add_column("note", style="dim")
    for row in _overload_rows(result):
        figures.add_row(*row)
    console.print(figures)
    for problem in result.problems:
        console.print(f"[bold red]{problem}[/bold red]", soft_wrap=True)


def _overload_rows(result: Overloaded) -> list[tuple[str, str, str]]:
    memory, offered = result.memory, sum(result.answers.values())
    seconds = sum(result.seconds.values())
    livez = sorted(result.livez_seconds) or [0.0]
    away = ", ".join(f"{spent:.0f} s {what}" for what, spent in sorted(result.seconds.items()))
    rate = memory.samples / max(1.0, memory.seconds)
    looks = f"the most any gate process held, of 120 MiB; looked at {rate:.1f} times a second"
    ended = ", ".join(f"{count:,} x {how}" for how, count in sorted(result.ends.items()))
    ledger = result.audit
    return [
        ("memory at the start", f"{memory.base_bytes / MIB:.1f} MiB", ""),
        ("memory at the peak", f"{memory.peak_bytes / MIB:.1f} MiB", looks),
        *((f"  {phase}", f"{held / MIB:.1f} MiB", "") for phase, held in sorted(memory.peaks_bytes.items()) if phase),
        (
            "requests answered",
            f"{offered:,}",
            f"{offered / max(1.0, seconds):,.0f}/s, {result.options.clients} clients",
        ),
        ("taken", f"{result.taken:,}", f"offered {result.times:.1f} times as much"),
        *((f"  {said}", f"{count:,}", MEANT.get(said, "?")) for said, count in sorted(result.answers.items())),
        ("ended without an answer", f"{sum(result.ends.values()):,}", ended),
        ("Redis away", f"{result.away_share:.0%}", away),
        ("/livez", f"{livez[-1]:.2f} s", f"at worst, {livez[len(livez) // 2]:.3f} s in the middle of {len(livez)}"),
        ("applied", f"{len(result.stored):,}", f"{len(result.accepted):,} distinct events were answered 202"),
        ("unaccounted", str(ledger.get("unaccounted", "?")), f"accepted {ledger.get('accepted', 0):,} in the ledger"),
        ("seed", str(result.options.seed), ""),
    ]


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
    tiers = ", ".join(f"{count:,} kept by {name}" for name, count in sorted(provider.tiers.items()))
    takeovers = watch.takeovers
    return [
        ("events sent", f"{provider.events:,}", f"repetitions included; {len(provider.accepted):,} distinct"),
        ("answers", f"{sum(provider.answers.values()):,}", answers),
        ("202", f"{sum(provider.tiers.values()):,}", tiers),
        ("while nothing was durable", f"{watch.told_503:,} x 503", f"{watch.told_202} x 202; Redis and Postgres away"),
        ("reloads of a gate", str(watch.reloads), f"{watch.reloads_broken} connections refused or broken off by it"),
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
        ("worker memory", f"{result.worker_bytes_max / MIB:.0f} MiB", "the most any worker held"),
        ("gate memory", f"{result.gate_bytes_max / MIB:.0f} MiB", "the most any process of a gate held, of 120 MiB"),
        ("ended by themselves", str(len(result.ended)), _endings(result.ended)),
        ("zombies", str(watch.zombies), f"{watch.zombies_robbed} woke when others had applied what they held"),
        ("time", f"{result.seconds:.0f} s", f"{provider.events / result.seconds:,.0f} events/s"),
        ("seed", str(result.options.seed), ""),
    ]
