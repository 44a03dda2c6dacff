"""`tidegate sources`: what comes in, and stopping it for a while."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dlq import readable
from ingest import service
from ingest.adapters.declaration import Declaration
from tidegate import ledger
from tidegate.cli import declarations, source_secrets, source_states, trying
from tidegate.cli.context import Context, opened_stream
from tidegate.cli.source_states import SourceState, since, unknown
from tidegate.errors import UsageError
from tidegate.rotation import Standing, Verdict
from tidegate.settings import Settings
from tidegate.stream import Mode, Pause, Pauses

_STYLES = {"taking": "green", "refusing": "red", "holding": "yellow", "unconfigured": "dim"}
_VERDICT_STYLES: dict[Verdict, str] = {
    "in_use": "none",
    "waiting": "yellow",
    "retire": "green",
    "unseen": "yellow",
    "no_evidence": "dim",
    "removed": "dim",
}
_NAMES_COLUMNS = 12
"""What the names of the facts take up, before the facts."""
_WIDE = 110
"""Columns from which on a table has room for paths."""
_HEARD = "know within two seconds"
"""Gates and workers look once a second."""


@click.group("sources")
def command() -> None:
    """Show the sources, pause and resume them, and try one out."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.pass_obj
def list_(context: Context, as_json: bool) -> None:
    """List the sources: whether each is taken in, what came, and where it is."""
    found = list(context.run(_load(context.settings())).values())
    if as_json:
        for state in found:
            click.echo(json.dumps(state.as_dict()))
        return
    if not found:
        click.echo("no sources: add [sources.NAME] with provider and secrets to tidegate.toml")
        return
    console = _console()
    console.print(_table(found, wide=console.width >= _WIDE))
    paused = [(state.name, state.pause) for state in found if state.pause is not None]
    if paused:
        console.print()
    for name, pause in paused:
        console.print(_plain(f"{name} {_told(pause)}"))
    now = datetime.now(UTC)
    retirable = [f"{state.name}: {said}" for state in found for said in source_secrets.retirable(state.secrets, now)]
    if retirable:
        console.print()
    for line in retirable:
        console.print(_plain(line), style="green")


def _console() -> Console:
    # Nobody's terminal ends at 80 columns when the reader is grep.
    return Console(width=None if sys.stdout.isatty() else 1000, highlight=False)


def _table(found: list[SourceState], *, wide: bool) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for name in ("source", "provider", *(("path",) if wide else ())):
        table.add_column(name, overflow="fold")
    table.add_column("state", no_wrap=True)
    counted = ("accepted", "applied", *(("duplicate", "ignored") if wide else ()), "dead")
    for name in (*counted, "waiting"):
        table.add_column(name, justify="right", no_wrap=True)
    now = datetime.now(UTC)
    for state in found:
        provider = state.settings.provider if state.settings is not None else "–"
        numbers = [*(state.counts.get(name, 0) for name in counted), state.waiting]
        table.add_row(
            _plain(state.name),
            _plain(provider),
            *((_plain(state.path),) if wide else ()),
            _state(state, now if wide else None),
            *(f"{number:,}" for number in numbers),
            style="dim" if state.settings is None and state.pause is None else None,
        )
    return table


def _state(state: SourceState, now: datetime | None) -> Text:
    """Return the state; with ``now`` for how long, which on a narrow terminal would cost the names their room."""
    paused = f" {_for(state.pause, now)}" if state.pause is not None and now is not None else ""
    return Text(state.state + paused, style=_STYLES[state.state])


def _for(pause: Pause, now: datetime) -> str:
    return readable.duration(max(0.0, (now - since(pause)).total_seconds() * 1000))


def _told(pause: Pause) -> str:
    """Return how a source is paused, as the rest of a sentence."""
    what = "refusing" if pause.mode == "refuse" else "holding"
    return f"has been {what} since {since(pause):%Y-%m-%d %H:%M:%S} UTC{f': {pause.why}' if pause.why else ''}"


def _plain(text: str) -> Text:
    """Return text from outside for a terminal: neither markup nor control characters of its own take effect."""
    return Text(readable.visible(text))


async def _load(settings: Settings) -> dict[str, SourceState]:
    async with opened_stream(settings) as stream:
        return await source_states.load(stream, settings)


@command.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(context: Context, name: str, as_json: bool) -> None:
    """Show all there is to know of one source, save for its secrets."""
    settings = context.settings()
    found = context.run(_load(settings))
    if name not in found:
        raise unknown(name, settings.sources)
    state = found[name]
    if as_json:
        click.echo(json.dumps(state.as_dict(), indent=2))
        return
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    console = _console()
    for what, told in _facts(state, _words(name, settings), console.width):
        facts.add_row(what, told)
    console.print(_plain(name), style="bold")
    console.print(facts)


def _words(name: str, settings: Settings) -> Declaration | None:
    """Return the declaration the source works by; None where it has none that is right, or is no source (any more)."""
    with suppress(UsageError, KeyError):
        return declarations.of_source(name, settings)
    return None


def _facts(state: SourceState, words: Declaration | None, columns: int) -> list[tuple[str, Text]]:
    settings, counts, now = state.settings, state.counts, datetime.now(UTC)
    facts = [("state", _state(state, now))]
    if state.pause is not None:
        facts.append(("paused", _plain(f"since {since(state.pause):%Y-%m-%d %H:%M:%S} UTC")))
        facts += [("why", _plain(state.pause.why))] if state.pause.why else []
    if settings is not None:
        several = len(settings.secrets) > 1
        rate = settings.rate_per_second
        facts += [
            ("provider", _plain(settings.provider)),
            ("path", _plain(state.path)),
            ("public url", _plain(settings.public_url or _no_url(words))),
            ("secrets", Text(f"{len(settings.secrets)}{', any of which verifies' if several else ''}")),
            *_secrets(state.secrets, now, columns=columns),
            ("tolerance", _tolerance(settings.tolerance_seconds, words)),
            ("rate", Text(f"{rate:g} a second, {settings.burst:,} at once" if rate else "no limit")),
        ]
    else:
        facts += _secrets(state.secrets, now, columns=columns)
    came = [f"{counts.get(name, 0):,} {name}" for name in ledger.IN if name == "accepted" or counts.get(name)]
    left = [f"{counts.get(name, 0):,} {name}" for name in ledger.OUT]
    held = (
        f", {f'{state.held:,} of them ' if state.held < state.waiting else ''}until it is resumed" if state.held else ""
    )
    facts += [
        ("came in", Text(" + ".join(came))),
        ("went out", Text(", ".join(left))),
        ("waiting", Text(f"{state.waiting:,}{held}")),
    ]
    return facts


def _secrets(standings: Sequence[Standing], now: datetime, *, columns: int) -> list[tuple[str, Text]]:
    """Return a line a secret, some lines where there is no room."""
    is_wide = columns >= _WIDE
    longest = max((len(readable.visible(one.label)) for one in standings), default=0)
    rows = []
    for one in standings:
        label, says = readable.visible(one.label), source_secrets.says(one, now)
        fits = _NAMES_COLUMNS + len(label) + 2 + len(says) <= columns
        told = Text(label.ljust(longest) if is_wide else label, style="bold")
        told.append("  " if is_wide or fits else "\n  ").append(says, style=f"not bold {_VERDICT_STYLES[one.verdict]}")
        told.append("; " if is_wide else "\n  ", style="not bold")
        rows.append(("", told.append(source_secrets.evidence(one, now), style="not bold")))
    return rows


def _no_url(words: Declaration | None) -> str:
    if words is not None and not declarations.signs_url(words):
        return "– (not needed: this provider does not sign it)"
    return "– (this provider signs it: rebuilt from the Host header)"


def _tolerance(seconds: int | None, words: Declaration | None) -> Text:
    if words is not None and not declarations.signs_time(words):
        return Text("– (this provider signs no time)")
    if seconds is None:
        stamp = words.timestamp if words is not None else None
        if stamp is None:
            return Text("what suits the provider")
        ahead = min(stamp.ahead_seconds, stamp.tolerance_seconds)
        return Text(f"what suits the provider: {stamp.tolerance_seconds:,} s old at most, {ahead:,} s ahead")
    return Text(f"{seconds:,} s between the provider's clock and ours")


@command.command()
@click.argument("name")
@click.option("--hold", is_flag=True, help="Go on taking its events in; they wait, unapplied, until it is resumed.")
@click.option("--why", default="", metavar="TEXT", help="For whoever wonders later.")
@click.pass_obj
def pause(context: Context, name: str, hold: bool, why: str) -> None:
    """Stop taking events of NAME in: its provider is answered 503, and comes back by itself.

    What was accepted before is still applied. With --hold it is the other way round: the gate takes events as ever, and they
    wait in Redis, where they count for stream.backlog_max. Nothing is lost either way.
    """
    settings = context.settings()
    _tell(context.run(_pause(settings, name, "hold" if hold else "refuse", why)))


def _tell(lines: list[str]) -> None:
    """Print the first line, and the others under it."""
    console = _console()
    for number, line in enumerate(lines):
        console.print(Padding(_plain(line), (0, 0, 0, 2 if number else 0), expand=False))


async def _pause(settings: Settings, name: str, mode: Mode, why: str) -> list[str]:
    async with opened_stream(settings) as stream:
        pauses = Pauses(stream.client, settings.stream.prefix)
        known = await pauses.load()
        if name not in settings.sources and name not in known:
            raise unknown(name, settings.sources)
        old = known.get(name)
        if old is not None and old.mode == mode and why in ("", old.why):
            return [f"nothing to do: {name} {_told(old)}"]
        same = old is not None and old.mode == mode
        await pauses.set(name, mode, why, since_ms=old.since_ms if old is not None and same else None)
        if same:
            return [f"{name} stays as it is, for another reason now"]
        before = [] if old is None else [f"until now it {_told(old)}"]
        if mode == "refuse":
            released = await stream.resume(name)
            due = f"; {released:,} that waited are due now" if released else ""
            told = [
                f"{name} is refused: its provider is answered 503, and comes back by itself",
                f"gates {_HEARD}; what was accepted before is still applied{due}",
            ]
        else:
            told = [
                f"{name} is on hold: its events are taken in as ever, and wait, unapplied",
                f"workers {_HEARD}; what they have begun they finish",
                f"what waits counts for stream.backlog_max ({settings.stream.backlog_max:,} a shard), shared by all sources",
            ]
        return [*told, *before, f"`tidegate sources resume {name}` lets it go on"]


@command.command()
@click.argument("name")
@click.pass_obj
def resume(context: Context, name: str) -> None:
    """Let a paused source go on. What waited is due at once."""
    settings = context.settings()
    with Console(stderr=True).status(f"resuming {escape(readable.visible(name))} ..."):
        told = context.run(_resume(settings, name))
    _tell(told)


async def _resume(settings: Settings, name: str) -> list[str]:
    async with opened_stream(settings) as stream:
        pauses = Pauses(stream.client, settings.stream.prefix)
        if name not in settings.sources and name not in await pauses.load():
            raise unknown(name, settings.sources)
        old = await pauses.clear(name)
        # Also when it was not paused: whoever resumed it before may have died in the middle.
        released = await stream.resume(name)
        due = f"{released:,} that waited are due now" if released else ""
        if old is None:
            return [f"{name} was not paused{f', but {due}' if due else ': nothing to do'}"]
        waited = _for(old, datetime.now(UTC))
        if old.mode == "refuse":
            return [f"{name} goes on, after {waited}: its events are taken in again", f"gates {_HEARD}"]
        return [f"{name} goes on, after {waited} on hold: {due or 'nothing waited'}", f"workers {_HEARD}"]


@command.command()
@click.argument("name")
@click.option("--type", "event_type", metavar="TYPE", help="Post a sample of TYPE instead; a handler may count it.")
@click.option("--url", help="Where to. [default: the gate on this machine]")
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the outcome.",
)
@click.pass_obj
def test(context: Context, name: str, event_type: str | None, url: str | None, timeout_seconds: float) -> None:
    """Post one signed event of NAME, and follow it to its end.

    It is a sample of its provider, of the type tidegate.test, so that no handler counts it unless it takes all types. Where
    no sample can be made one, --type has to say which is to be sent as it is. Exit 0 when it was applied, ignored or known
    already; 1 when not; 3 when the gate does not answer.
    """
    settings = context.settings()
    if name not in settings.sources:  # first: it must not be said of a secret of another that it is not there
        raise unknown(name, settings.sources)
    source = service.sources(settings)[name]
    good = context.run(trying.Trial(settings, source, _console()).run(url, timeout_seconds, event_type))
    sys.exit(0 if good else 1)
