"""`tidegate providers`"""

from __future__ import annotations

import json
import re
import sys

import click
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from dlq import readable
from ingest.adapters.declaration import Declaration
from tidegate.cli import declarations, wording
from tidegate.cli.context import Context

_LABEL_CHARS = 11


@click.group("providers", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show the providers that can be connected by name, and how each is set up.

    Without a command all are listed. Your own, [providers.NAME] in the settings, are among them.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@command.command("list", short_help="List the providers, and how each is verified.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.pass_obj
def list_(context: Context, as_json: bool = False) -> None:
    """List the providers: how requests of each are verified, and what that rests on."""
    settings = context.settings()
    found = [declarations.of_provider(name, settings) for name in declarations.names(settings)]
    if as_json:
        for name, words in found:
            click.echo(json.dumps(_row(name, words, own=name in settings.providers)))
        return
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in ("provider", "title", "verified by"):
        table.add_column(column, overflow="fold")
    table.add_column("evidence", no_wrap=True)
    for name, words in found:
        own = name in settings.providers
        evidence = Text("own", style="cyan") if own else Text(words.evidence)
        table.add_row(_plain(name), _plain(words.title or "–"), _plain(wording.verified(words)), evidence)
    console = _console()
    console.print(table)
    if console.is_terminal:
        console.print(f"\n{len(found)} providers; `tidegate providers show NAME` tells all of one", style="dim")


def _row(name: str, words: Declaration, *, own: bool) -> dict[str, object]:
    return {
        "name": name,
        "title": words.title,
        "verified": wording.verified(words),
        "evidence": "own" if own else words.evidence,
        "own": own,
        "homepage": words.homepage,
        "types": [sample.type for sample in words.samples],
    }


@command.command(short_help="Show all of one provider: setup, signature, events, answers.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the declaration, all its words, as JSON.")
@click.option("--toml", "as_toml", is_flag=True, help="Print a [sources.NAME] for tidegate.toml.")
@click.pass_obj
def show(context: Context, name: str, as_json: bool, as_toml: bool) -> None:
    """Show how NAME is set up, how it signs, what its events are known by, and what it is answered."""
    if as_json and as_toml:
        raise click.UsageError("--json and --toml: one of them")
    settings = context.settings()
    proper, words = declarations.of_provider(name, settings)
    if as_json:
        click.echo(json.dumps(words.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False))
    elif as_toml:
        click.echo(snippet(proper, words), nl=False)
    else:
        console = _console()
        console.print(page(proper, words, own=proper in settings.providers))


def snippet(name: str, words: Declaration) -> str:
    """Return the settings of a source of this provider, for somebody to paste and fill in."""
    source = name.replace(".", "-").lower()  # as sources may be called: it is part of the URL
    variable = re.sub(r"[^A-Z0-9]", "_", name.upper())
    lines = [f"[sources.{source}]", f"provider = {json.dumps(name)}"]
    if words.secret:
        lines.append(f"# {_line(words.secret)}")
    lines.append(f'secrets = ["env:{variable}_SECRET"]')
    if any(found.secret is not None for found in words.handshakes):
        lines.append(f'handshake_secret = "env:{variable}_HANDSHAKE_SECRET"')
    if declarations.signs_url(words):
        lines += [
            "# exactly the URL that the provider was given: it signs it",
            f'public_url = "https://hooks.example.com/webhooks/{source}"',
        ]
    return "\n".join(lines) + "\n"


def page(name: str, words: Declaration, *, own: bool) -> RenderableType:
    """Return all of one provider, laid out for a person."""
    parts: list[RenderableType] = []
    for group in _groups(name, words, own=own):
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="bold", no_wrap=True, width=_LABEL_CHARS)
        facts.add_column(overflow="fold")
        for what, told in group:
            for number, text in enumerate(told):
                facts.add_row("" if number else what, text)
        parts += [Text(), facts]
    title = Text.assemble((words.title or name, "bold"), f" ({name})" if words.title else "")
    return Group(
        _visible(title), *([Text(readable.visible(words.homepage), style="dim")] if words.homepage else []), *parts
    )


_Facts = list[tuple[str, list[RenderableType]]]


def _groups(name: str, words: Declaration, *, own: bool) -> list[_Facts]:
    """Return what there is to say, in groups that belong together; what is not declared is left out."""
    steps = words.setup
    setup: list[RenderableType] = (
        [_item(f"{number}.", step) for number, step in enumerate(steps, start=1)] if len(steps) > 1 else _texts(*steps)
    )
    groups: list[_Facts] = [
        [
            ("set up", setup),
            ("secret", _texts(words.secret)),
            ("settings", _texts(f"`tidegate providers show {name} --toml` prints them")),
        ],
        _authenticity(words),
        [] if words.code is not None else _events(words),
        [
            ("answers", _texts(wording.answers(words))),
            ("retries", _texts(words.retries)),
            ("handshakes", _texts(*map(wording.handshake, words.handshakes))),
            ("samples", _texts(", ".join(dict.fromkeys(sample.type for sample in words.samples)))),
        ],
        [("mind", [_item("-", text) for text in words.caveats])],
        [
            ("evidence", _texts("own: declared in your settings" if own else _evidence(words))),
            ("sources", [_item("-", text) for text in words.sources]),
        ],
    ]
    full = [[(what, told) for what, told in group if told] for group in groups]
    return [group for group in full if group]


def _authenticity(words: Declaration) -> _Facts:
    sent = f"{', '.join(words.methods)}, {', '.join(_media(kind) for kind in words.content_types)}"
    own_scheme = f"a scheme of its own, written in Python ({words.code})"
    return [
        ("sent as", _texts(sent)),
        ("verified by", _texts(*map(wording.signature, words.signatures)) or _texts(own_scheme)),
        ("signed time", _texts(wording.stamp(words.timestamp)) if words.timestamp is not None else []),
    ]


def _events(words: Declaration) -> _Facts:
    events = words.events
    return [
        ("events", _texts(wording.cutting(events))),
        ("event id", _texts(wording.values(events.id))),
        ("event type", _texts(wording.values(events.type, joined=f", then {events.type_separator!r} and "))),
        ("happened at", _texts(wording.value(events.occurred_at) if events.occurred_at else "")),
        ("about", _texts(wording.keys(events.key) if events.key else "")),
    ]


def _evidence(words: Declaration) -> str:
    return f"{words.evidence}: {wording.EVIDENCE[words.evidence]}"


def _media(kind: str) -> str:
    return "all that ends in +json" if kind == "+json" else kind


def _texts(*texts: str) -> list[RenderableType]:
    return [_plain(text) for text in texts if text]


def _item(mark: str, text: str) -> RenderableType:
    """Return an item of a list, whose later lines stand under its first word."""
    row = Table.grid(padding=(0, 1))
    row.add_column(no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(mark, _plain(text))
    return row


def _line(text: str) -> str:
    return " ".join(readable.visible(text).split())


def _plain(text: str) -> Text:
    """Return text from a settings file for a terminal: neither markup nor control characters take effect."""
    return Text(readable.visible(text))


def _visible(text: Text) -> Text:
    return text if text.plain.isprintable() else Text(readable.visible(text.plain), style="bold")


def _console() -> Console:
    # Nobody's terminal ends at 80 columns when the reader is grep.
    return Console(width=None if sys.stdout.isatty() else 1000, highlight=False)
