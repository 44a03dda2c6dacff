"""`tidegate up`"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import click
from rich.console import Console

from tidegate.cli.context import Context
from tidegate.cli.demo_sources import DemoSources
from tidegate.cli.stack import Stack
from tidegate.settings import Settings
from tidegate.telemetry.redaction import without_password

FOLDER = Path(".tidegate")


@click.command("up")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port of the gate.")
@click.option(
    "--console-port", type=click.IntRange(0, 65535), default=8081, show_default=True, help="Port of the console."
)
@click.option("--workers", type=click.IntRange(1, 16), default=2, show_default=True, help="Worker processes.")
@click.pass_obj
def command(context: Context, port: int, console_port: int, workers: int) -> None:
    """Run gate, workers and console until Ctrl-C, on embedded servers with their data in ./.tidegate.

    Where TIDEGATE_REDIS_URL or TIDEGATE_POSTGRES_URL is set, that server is used instead.
    """
    given = context.settings()
    secrets = _kept_secrets(FOLDER / "sources.json")
    with Stack(
        FOLDER,
        settings_text=secrets.toml,
        redis_url=given.require_redis() if given.redis_url else None,
        postgres_url=given.require_postgres() if given.postgres_url else None,
        workers=workers,
        python=[sys.executable, "-m", "tidegate"],
        gate_port=port,
        console_port=console_port,
    ) as stack:
        _show(Console(), stack, stack.settings, secrets)
        _wait_for_ctrl_c()
        click.echo("\nstopping ...")


def _kept_secrets(path: Path) -> DemoSources:
    """Return the secrets of the last time, so that a provider connected yesterday still is."""
    if path.is_file():
        return DemoSources(**json.loads(path.read_text(encoding="utf-8")))
    made = DemoSources()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps({"crm": made.crm, "lemlist": made.lemlist, "hubspot": made.hubspot}), encoding="utf-8")
    return made


def _show(console: Console, stack: Stack, settings: Settings, secrets: DemoSources) -> None:
    tidegate = f"tidegate -c {stack.config.relative_to(Path.cwd())}"
    console.print("\n[bold green]Tidegate is up.[/bold green] Ctrl-C stops it; its data stays in .tidegate/\n")
    console.print(f"  gate      {stack.gate_url}/webhooks/{{crm,lemlist,hubspot}}", markup=False, highlight=False)
    console.print(f"  console   {stack.console_url}   token {stack.admin_token}", highlight=False)
    console.print(f"  redis     {without_password(settings.require_redis())}", highlight=False)
    console.print(f"  postgres  {without_password(settings.require_postgres())}", highlight=False)
    console.print(f"  logs      {stack.folder}/*.log\n", highlight=False)
    body = json.dumps({"_id": "act_1", "type": "emailsOpened", "secret": secrets.lemlist})
    console.print("Send an event:\n", highlight=False)
    click.echo(f"  curl -H 'Content-Type: application/json' -d '{body}' \\\n    {stack.gate_url}/webhooks/lemlist\n")
    console.print("and see where it is:\n", highlight=False)
    click.echo(f"  .venv/bin/{tidegate} audit\n  .venv/bin/{tidegate} dlq list\n")


def _wait_for_ctrl_c() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        signal.pause()
    except KeyboardInterrupt:
        return
