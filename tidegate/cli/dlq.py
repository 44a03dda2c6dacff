"""`tidegate dlq`: search, replay and discard dead letters."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any
from uuid import UUID

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from dlq import letters, plain, readable
from dlq import replay as replaying
from dlq.letters import Filter, Letter, Stat
from tidegate.cli.context import Context, opened_postgres, opened_stream
from tidegate.cli.when import When
from tidegate.errors import UsageError
from tidegate.settings import Settings

_WIDTHS = {"id": 36, "died": 10, "reason": 9, "status": 9}


def _filtered(function: Callable[..., None]) -> Callable[..., None]:
    """Add the filter options; the command receives them as one Filter."""

    @click.option("--source", help="Only this source.")
    @click.option("--type", "event_type", help="Only this event type; * is a wildcard.")
    @click.option("--reason", help=f"Only this reason: {', '.join(letters.REASONS)}.")
    @click.option("--status", type=click.Choice(letters.STATUSES), help="Only this status.")
    @click.option("--since", type=When(), help="Only letters since then: 15m, 2h, 3d, or a time.")
    @click.option("--until", type=When(), help="Only letters before then.")
    @wraps(function)
    def command(
        *args: Any,
        source: str | None,
        event_type: str | None,
        reason: str | None,
        status: letters.Status | None,
        since: datetime | None,
        until: datetime | None,
        **options: Any,
    ) -> None:
        function(*args, wanted=Filter(source, event_type, reason, status, since, until), **options)

    return command


@click.group("dlq")
def command() -> None:
    """Search, replay and discard dead letters: events that could not be applied."""


@command.command("list")
@_filtered
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most this many.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.pass_obj
def list_(context: Context, wanted: Filter, limit: int, as_json: bool) -> None:
    """List letters, newest first."""
    found, total = context.run(_list(context.settings(), wanted, limit))
    if as_json:
        for letter in found:
            click.echo(json.dumps(plain.summary(letter)))
        return
    # Nobody's terminal ends at 80 columns when the reader is grep.
    console = Console(width=None if sys.stdout.isatty() else 1000)
    fixed, free = (
        ("id", "died", "reason", "status"),
        ("source", "type", "event") if console.width >= 120 else ("source",),
    )
    table = Table(header_style="bold", box=None, pad_edge=False)
    for name in fixed:
        table.add_column(name, no_wrap=True, min_width=_WIDTHS[name])
    for name in free:
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    now = datetime.now(UTC)
    for letter in found:
        words = (letter.reason, letter.status, letter.source, letter.event_type, letter.provider_event_id)
        cells: list[str | Text] = [str(letter.id), readable.ago(letter.created_at, now), *map(_plain, words)]
        table.add_row(*cells[: len(fixed) + len(free)])
    if found:
        console.print(table)
    console.print(f"{len(found)} of {total} letters" if found else "no letters")


def _plain(value: object) -> Text:
    """Return text from outside for a terminal: neither markup nor control characters of its own take effect."""
    return Text(readable.visible(str(value)))


async def _list(settings: Settings, wanted: Filter, limit: int) -> tuple[list[Letter], int]:
    async with opened_postgres(settings, "tidegate dlq") as connection:
        return await letters.select(connection, wanted, limit=limit), await letters.count(connection, wanted)


@command.command()
@click.argument("letter_id", metavar="ID", type=click.UUID)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, payload included.")
@click.pass_obj
def show(context: Context, letter_id: UUID, as_json: bool) -> None:
    """Show one letter whole: payload, headers, and what each attempt said."""
    found = context.run(_get(context.settings(), [letter_id]))
    if not found:
        raise click.ClickException(f"no letter {letter_id}")
    letter = found[0]
    if as_json:
        click.echo(json.dumps(plain.whole(letter), indent=2))
        return
    console = Console()
    facts = Table.grid(padding=(0, 2))
    for name, value in plain.summary(letter).items():
        facts.add_row(f"[bold]{name}[/bold]", "" if value is None else _plain(value))
    console.print(facts)
    console.print("\n[bold]attempts[/bold]")
    for past in letter.history:
        at = datetime.fromtimestamp(past["at_ms"] / 1000, UTC)
        console.print(f"  {at:%Y-%m-%d %H:%M:%S} ", _plain(past["reason"]), "", _plain(past["error"]))
    console.print("\n[bold]headers[/bold]")
    for name, value in letter.headers.items():
        console.print(" ", _plain(f"{name}: {value}"))
    console.print(f"\n[bold]payload[/bold] ({len(letter.payload):,} bytes)")
    shown, left_out = readable.payload(letter.payload)
    console.print(Syntax(shown, "json", background_color="default", word_wrap=True))
    if left_out:
        console.print(f"... {left_out:,} characters more; see --json")


async def _get(settings: Settings, ids: list[UUID]) -> list[Letter]:
    async with opened_postgres(settings, "tidegate dlq") as connection:
        return await letters.get(connection, ids)


@command.command()
@_filtered
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def stats(context: Context, wanted: Filter, as_json: bool) -> None:
    """Count letters by source, reason and status."""
    found = context.run(_stats(context.settings(), wanted))
    if as_json:
        click.echo(
            json.dumps(
                [
                    {
                        "source": stat.source,
                        "reason": stat.reason,
                        "status": stat.status,
                        "count": stat.count,
                        "oldest": stat.oldest.isoformat(),
                        "newest": stat.newest.isoformat(),
                    }
                    for stat in found
                ],
                indent=2,
            )
        )
        return
    table = Table(header_style="bold", box=None, pad_edge=False)
    for name in ("source", "reason", "status", "oldest", "newest"):
        table.add_column(name)
    table.add_column("count", justify="right")
    for stat in found:
        table.add_row(
            *map(_plain, (stat.source, stat.reason, stat.status)),
            f"{stat.oldest:%Y-%m-%d %H:%M:%S}",
            f"{stat.newest:%Y-%m-%d %H:%M:%S}",
            f"{stat.count:,}",
        )
    console = Console()
    if found:
        console.print(table)
    console.print(f"{sum(stat.count for stat in found):,} letters")


async def _stats(settings: Settings, wanted: Filter) -> list[Stat]:
    async with opened_postgres(settings, "tidegate dlq") as connection:
        return await letters.stats(connection, wanted)


@command.command("replay")
@click.argument("ids", nargs=-1, metavar="[ID]...", type=click.UUID)
@_filtered
@click.option("--all", "every", is_flag=True, help="All open letters, without any filter.")
@click.option("--dry-run", is_flag=True, help="Say how many, and do nothing.")
@click.option(
    "--rate", type=click.IntRange(1, 100_000), default=200, show_default=True, help="Letters a second, at most."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def replay_(
    context: Context,
    ids: tuple[UUID, ...],
    wanted: Filter,
    every: bool,
    dry_run: bool,
    rate: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Put letters back on the stream, by ID or by filter. Without --status, open ones.

    A letter whose replay was cut off stays `replaying`: --status replaying takes it up again, and nothing doubles.
    """
    chosen = _choose(ids, wanted, every, allowed=("open", "replaying"))
    settings = context.settings()
    count = context.run(_count(settings, chosen, ids))
    _confirm("replay", count, dry_run=dry_run, yes=yes or as_json)
    if dry_run:
        _report({"would_replay": count}, as_json=as_json)
        return
    gone = context.run(_replay(settings, chosen, ids, rate, count)) if count else 0
    _report({"replayed": gone, "skipped": count - gone}, as_json=as_json)
    sys.exit(0 if gone == count else 1)


async def _replay(settings: Settings, wanted: Filter, ids: tuple[UUID, ...], rate: int, count: int) -> int:
    gone = 0
    async with opened_stream(settings) as stream, opened_postgres(settings, "tidegate dlq replay") as connection:
        with _progress() as progress:
            bar = progress.add_task("replaying", total=count)

            def done(dealt_with: int) -> None:
                progress.advance(bar, dealt_with)

            if ids:
                return len(await replaying.replay(stream, connection, ids, rate=rate, done=done))
            # Listed before the first one goes: a letter that dies again meanwhile must not be replayed for ever.
            pages = [page async for page in replaying.matching(connection, wanted)]
            for page in pages:
                gone += len(await replaying.replay(stream, connection, page, rate=rate, done=done))
    return gone


@command.command()
@click.argument("ids", nargs=-1, metavar="[ID]...", type=click.UUID)
@_filtered
@click.option("--all", "every", is_flag=True, help="All open letters, without any filter.")
@click.option("--dry-run", is_flag=True, help="Say how many, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def discard(
    context: Context, ids: tuple[UUID, ...], wanted: Filter, every: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Give open letters up, by ID or by filter. They stay readable as `discarded`."""
    chosen = _choose(ids, wanted, every, allowed=("open",))
    settings = context.settings()
    count = context.run(_count(settings, chosen, ids))
    _confirm("discard", count, dry_run=dry_run, yes=yes or as_json)
    if dry_run:
        _report({"would_discard": count}, as_json=as_json)
        return
    gone = context.run(_discard(settings, chosen, ids)) if count else 0
    _report({"discarded": gone, "skipped": count - gone}, as_json=as_json)
    sys.exit(0 if gone == count else 1)


async def _discard(settings: Settings, wanted: Filter, ids: tuple[UUID, ...]) -> int:
    async with opened_postgres(settings, "tidegate dlq discard") as connection:
        if ids:
            return len(await letters.discard(connection, ids))
        pages = [page async for page in replaying.matching(connection, wanted)]
        return sum([len(await letters.discard(connection, page)) for page in pages])


def _choose(ids: tuple[UUID, ...], wanted: Filter, every: bool, *, allowed: tuple[letters.Status, ...]) -> Filter:
    """Return the filter meant; raise UsageError for none, for two ways at once, and for letters that cannot go."""
    filtered = wanted != Filter()
    if sum((bool(ids), filtered, every)) != 1:
        raise UsageError("give either IDs, or filters such as --source and --reason, or --all")
    if wanted.status is not None and wanted.status not in allowed:
        raise UsageError(f"letters that are {wanted.status} stay as they are; possible: {', '.join(allowed)}")
    if wanted.status is None:
        return Filter(wanted.source, wanted.event_type, wanted.reason, "open", wanted.since, wanted.until)
    return wanted


async def _count(settings: Settings, wanted: Filter, ids: tuple[UUID, ...]) -> int:
    async with opened_postgres(settings, "tidegate dlq") as connection:
        if not ids:
            return await letters.count(connection, wanted)
        known = {letter.id for letter in await letters.get(connection, ids)}
        unknown = [str(letter_id) for letter_id in ids if letter_id not in known]
        if unknown:
            raise click.ClickException(f"no such letters: {', '.join(unknown)}")
        return len(known)


def _confirm(verb: str, count: int, *, dry_run: bool, yes: bool) -> None:
    if dry_run or yes or count == 0:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"this would {verb} {count} letters: say --yes, or --dry-run to look first")
    click.confirm(f"{verb.capitalize()} {count} letters?", abort=True)


def _report(result: dict[str, int], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result))
    else:
        for name, count in result.items():
            if name != "skipped":
                click.echo(f"{name.replace('_', ' ')} {count:,}")
            elif count:
                click.echo(f"skipped {count:,}: no longer open")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
