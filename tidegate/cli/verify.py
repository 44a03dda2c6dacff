"""`tidegate verify`"""

from __future__ import annotations

import json
import sys
import time
from typing import TextIO

import click
from rich.console import Console

from ingest import service
from ingest.adapters.base import Adapter
from ingest.adapters.capture import Verdict, check
from tidegate.cli.context import Context
from tidegate.errors import UsageError


@click.command("verify")
@click.argument("source", required=False)
@click.option(
    "--requests",
    "file",
    type=click.File("r", encoding="utf-8", errors="surrogateescape"),
    required=True,
    help="Captured requests, a JSON object a line; - for standard input.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON verdict a line.")
@click.pass_obj
def command(context: Context, source: str | None, file: TextIO, as_json: bool) -> None:
    """Check captured requests against SOURCE's secrets, and say why one fails. Exit 1 when one does.

    A line is {"method", "url", "headers": [[name, value], ...], "body" or "body_base64"} and may bring its own "provider",
    "secret" and "at" (Unix seconds taken as now).
    """
    adapter = _adapter(context, source) if source else None
    console = Console()
    failed = 0
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        verdict = _verdict(line, adapter)
        failed += not verdict.valid
        if as_json:
            click.echo(json.dumps({"valid": verdict.valid, "reason": verdict.reason, "detail": verdict.detail}))
        else:
            mark = "[green]valid[/green]  " if verdict.valid else "[red]invalid[/red]"
            console.print(f"{number:>4}  {mark}  {verdict.reason}", end="  ", highlight=False)
            console.print(verdict.detail, markup=False, highlight=False)
    sys.exit(1 if failed else 0)


def _adapter(context: Context, source: str) -> Adapter:
    configured = service.sources(context.settings())
    if source not in configured:
        raise UsageError(f"no source {source!r} in the settings; there are: {', '.join(sorted(configured)) or 'none'}")
    return configured[source].adapter


def _verdict(line: str, adapter: Adapter | None) -> Verdict:
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Verdict(False, "bad_line", f"the line is not JSON: {error}")
    return check(parsed, default_adapter=adapter, default_now=time.time())
