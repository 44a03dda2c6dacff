"""`tidegate doctor`"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from tidegate import inbox
from tidegate.cli import source_secrets
from tidegate.cli.context import Context, opened_postgres, opened_stream
from tidegate.postgres import Connection
from tidegate.settings import Settings
from tidegate.stream import promises


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what it is set to, and what to do when that breaks the promise (empty when it does not)."""

    what: str
    found: str
    remedy: str = ""


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> None:
    """Read what the servers are really set to and say which promise holds. Exit 1 when one does not."""
    findings = context.run(_examine(context.settings()))
    wrong = [finding for finding in findings if finding.remedy]
    if as_json:
        click.echo(json.dumps({"healthy": not wrong, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        table = Table(header_style="bold", box=None, pad_edge=False)
        for name in ("", "what", "found", "do this"):
            table.add_column(name)
        for finding in findings:
            mark = "[red]x[/red]" if finding.remedy else "[green]ok[/green]"
            table.add_row(mark, finding.what, finding.found, finding.remedy)
        console = Console()
        console.print(table)
        console.print(
            "[bold red]a 202 is not durable as it should be[/bold red]"
            if wrong
            else f"[bold green]{_promise(context.settings())}[/bold green]"
        )
    sys.exit(1 if wrong else 0)


def _promise(settings: Settings) -> str:
    """Say what a 202 means when nothing is wrong."""
    replicas = settings.ingest.wait_replicas
    where = f"on disk in Redis and on {replicas} replica{'s' * (replicas > 1)}" if replicas else "on disk in Redis"
    away = "committed in Postgres" if settings.ingest.inbox_rows_max else "there is none"
    return f"a 202 means: {where}; while Redis is away: {away}"


async def _inbox(settings: Settings, connection: Connection) -> Finding:
    limit = settings.ingest.inbox_rows_max
    if not limit:
        return Finding("inbox", "none: while Redis is away the gate answers 503")
    rows = (await inbox.state(connection)).rows
    full = "start a worker, or raise ingest.inbox_rows_max: a full inbox is 503 while Redis is away"
    return Finding("inbox", f"{rows:,} of {limit:,} rows", full if rows >= limit else "")


async def _examine(settings: Settings) -> list[Finding]:
    async with opened_stream(settings) as stream:
        findings = [
            Finding(*promise) for promise in await promises.look(stream.client, replicas=settings.ingest.wait_replicas)
        ]
        secrets = await source_secrets.load(stream, settings)
    async with opened_postgres(settings, "tidegate doctor") as connection:
        for name, good, remedy in (
            ("server_version", None, ""),
            ("fsync", "on", "set fsync = on: a crash of the machine may lose what was applied"),
            ("full_page_writes", "on", "set full_page_writes = on: a crash of the machine may corrupt the database"),
        ):
            cursor = await connection.execute("SELECT current_setting(%s)", [name])
            row = await cursor.fetchone()
            value = str(row[0]) if row else "?"
            findings.append(Finding(f"postgres {name}", value, "" if good in (None, value) else remedy))
        cursor = await connection.execute("SELECT current_setting('synchronous_commit')")
        row = await cursor.fetchone()
        commit = str(row[0]) if row else "?"
        remedy = "set synchronous_commit = on: a crash may lose the last commits, which are settled already"
        findings.append(Finding("postgres synchronous_commit", commit, remedy if commit == "off" else ""))
        findings.append(await _inbox(settings, connection))
    findings.append(Finding("sources", ", ".join(sorted(settings.sources)) or "none"))
    now = datetime.now(UTC)
    for name in sorted(settings.sources):
        findings += [Finding(f"secrets of {name}", said) for said in source_secrets.retirable(secrets[name], now)]
    return findings
