"""`tidegate verify`"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import click
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dlq import readable
from ingest import service
from ingest.adapters.base import Adapter
from ingest.adapters.capture import Verdict, check
from ingest.steps import Step
from tidegate.cli.context import Context
from tidegate.errors import UsageError

_MARKS = {True: Text("ok", style="green"), False: Text("no", style="red"), None: Text("")}
_INDENT = 6


@click.command("verify")
@click.argument("source", required=False)
@click.option(
    "--requests",
    "file",
    type=click.File("r", encoding="utf-8", errors="surrogateescape"),
    required=True,
    help="Captured requests, a JSON object a line; - for standard input.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON verdict a line, with its steps.")
@click.option(
    "--explain/--no-explain",
    "explain",
    default=None,
    help="Show how each line was judged, step by step. [default: on a terminal, the first that fails]",
)
@click.pass_obj
def command(context: Context, source: str | None, file: TextIO, as_json: bool, explain: bool | None) -> None:
    """Check captured requests against SOURCE's secrets, and say why one fails. Exit 1 when one does.

    A line is {"method", "url", "headers": [[name, value], ...], "body" or "body_base64"} and may bring its own "provider",
    "secret" (or a list of them) and "at" (Unix seconds taken as now). `tidegate send SOURCE --capture` prints one that is good.
    Where the source has a public_url, that is taken for the URL, as the gate takes it.

    No secret, no whole signature and no more of a body than its ends is shown.
    """
    settings = context.settings()
    sources = service.sources(settings) if source else {}
    configured = {name: found.adapter for name, found in sources.items()}
    if source and source not in configured:
        raise UsageError(f"no source {source!r} in the settings; there are: {', '.join(sorted(configured)) or 'none'}")
    labels = settings.sources[source].labels if source else ()
    public_url = sources[source].public_url if source else None
    view = _Json() if as_json else _Lines(explain)
    failed = 0
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        verdict = _verdict(line, configured.get(source or ""), public_url, labels, configured, settings.providers)
        failed += not verdict.valid
        view.show(number, verdict)
    sys.exit(1 if failed else 0)


def _verdict(
    line: str,
    adapter: Adapter | None,
    public_url: str | None,
    labels: Sequence[str],
    others: Mapping[str, Adapter],
    own: Mapping[str, Mapping[str, Any]],
) -> Verdict:
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Verdict(False, "bad_line", f"the line is not JSON: {error}")

    def checked(request: object) -> Verdict:
        return check(request, default_adapter=adapter, default_now=time.time(), labels=labels, others=others, own=own)

    told = _as_the_gate_takes_it(parsed, adapter, public_url)
    verdict = checked(told)
    if verdict.valid or told is parsed or not checked(parsed).valid:
        return verdict
    likely = "good for the line's own URL, and the gate takes public_url instead: set that to the URL that the provider calls"
    steps = [step for step in verdict.steps if step.name != "cause"]
    return Verdict(False, verdict.reason, likely, [*steps, Step("cause", likely)])


def _as_the_gate_takes_it(parsed: object, adapter: Adapter | None, public_url: str | None) -> object:
    """Return the line with its source's ``public_url`` as its URL; one that brings its own provider or secret as it is."""
    if adapter is None or public_url is None or not isinstance(parsed, dict):
        return parsed
    if "secret" in parsed or parsed.get("provider", adapter.provider) != adapter.provider:
        return parsed
    own = str(parsed.get("url", ""))
    query = own.partition("?")[2]
    url = f"{public_url.partition('?')[0]}?{query}" if query else public_url
    return parsed if url == own else {**parsed, "url": url}


class _Json:
    """An object a line."""

    def show(self, number: int, verdict: Verdict) -> None:
        click.echo(
            json.dumps(
                {
                    "valid": verdict.valid,
                    "reason": verdict.reason,
                    "detail": verdict.detail,
                    "steps": [{"step": step.name, "good": step.good, "text": step.told} for step in verdict.steps],
                }
            )
        )


class _Lines:
    """For people: a line of a verdict, and below it the steps where they are wanted."""

    def __init__(self, explain: bool | None) -> None:
        # Nobody's terminal ends at 80 columns when the reader is grep.
        self._console = Console(width=None if sys.stdout.isatty() else 1000, highlight=False)
        self._explain = explain
        self._explained = False

    def show(self, number: int, verdict: Verdict) -> None:
        explained = bool(verdict.steps) and self._wants(verdict)
        line = Table.grid(padding=(0, 2))
        line.add_column(width=4, justify="right")
        line.add_column(no_wrap=True)
        line.add_column(overflow="fold")
        mark = Text("valid", style="green") if verdict.valid else Text("invalid", style="red")
        said = verdict.detail if verdict.valid else verdict.reason
        if not verdict.valid and not explained:  # else it is the last step
            said += f": {verdict.detail}"
        line.add_row(str(number), mark, Text(readable.visible(said)))
        self._console.print(line)
        if explained:
            self._explained = True
            self._console.print(Padding(_steps(verdict), (0, 0, 1, _INDENT), expand=False))

    def _wants(self, verdict: Verdict) -> bool:
        """Tell whether the steps are shown: of a thousand that fail the first tells most of it."""
        if self._explain is not None:
            return self._explain
        return self._console.is_terminal and not verdict.valid and not self._explained


def _steps(verdict: Verdict) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True, width=2)
    table.add_column(overflow="fold")
    for step in verdict.steps:
        table.add_row(step.name, _MARKS[step.good], Text(readable.visible(step.told)))
    return table
