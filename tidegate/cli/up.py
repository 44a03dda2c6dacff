"""`tidegate up`"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import click
from pydantic import SecretStr
from rich.console import Console

from ingest import service
from tidegate.cli.context import Context
from tidegate.cli.demo_sources import DemoSources
from tidegate.cli.stack import Stack
from tidegate.settings import Settings
from tidegate.settings.loading import chosen_file
from tidegate.telemetry.redaction import without_password

FOLDER = Path(".tidegate")


@click.command("up")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the gate. [default: ingest.port, 8080]")
@click.option(
    "--console-port", type=click.IntRange(0, 65535), help="Port of the console. [default: console.port, 8081]"
)
@click.option("--workers", type=click.IntRange(1, 16), default=2, show_default=True, help="Worker processes.")
@click.pass_obj
def command(context: Context, port: int | None, console_port: int | None, workers: int) -> None:
    """Run gate, workers and console until Ctrl-C, on embedded servers with their data in ./.tidegate.

    The sources, providers and handlers are those of your settings; where these name no source, three are made: crm, lemlist and
    hubspot. Where TIDEGATE_REDIS_URL or TIDEGATE_POSTGRES_URL is set, that server is used instead.

    In another terminal `. .tidegate/env` lets every command find all of it.
    """
    given = context.settings()
    own = _own(context, given)
    secrets = None
    if own is not None:
        service.sources(given)  # what is wrong with them, before anything is started
    else:
        secrets = _kept_secrets(FOLDER / "sources.json")
    with Stack(
        FOLDER,
        settings_text=secrets.toml if secrets is not None else None,
        own=own,
        redis_url=given.require_redis() if _elsewhere(given.redis_url, "redis_url") else None,
        postgres_url=given.require_postgres() if _elsewhere(given.postgres_url, "postgres_url") else None,
        workers=workers,
        python=[sys.executable, "-m", "tidegate"],
        gate_port=given.ingest.port if port is None else port,
        console_port=given.console.port if console_port is None else console_port,
    ) as stack:
        _show(Console(), stack, stack.settings, secrets)
        _wait_for_ctrl_c()
        click.echo("\nstopping ...")


def _own(context: Context, given: Settings) -> Path | None:
    """Return the settings file that names the user's sources; None where there is none, or it is one that we made."""
    file = chosen_file(context.config)
    if file is None or not given.sources or file.resolve() == (FOLDER / "tidegate.toml").resolve():
        return None
    return file


def _elsewhere(url: SecretStr | None, name: str) -> bool:
    """Tell whether a server was given; ours of the last time is none, of which `.tidegate/env` tells in a terminal."""
    return url is not None and url.get_secret_value() != f"file:{FOLDER.absolute() / name}"


def _kept_secrets(path: Path) -> DemoSources:
    """Return the secrets of the last time, so that a provider connected yesterday still is."""
    if path.is_file():
        return DemoSources(**json.loads(path.read_text(encoding="utf-8")))
    made = DemoSources()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps({"crm": made.crm, "lemlist": made.lemlist, "hubspot": made.hubspot}), encoding="utf-8")
    return made


def _show(console: Console, stack: Stack, settings: Settings, secrets: DemoSources | None) -> None:
    console.print("\n[bold green]Tidegate is up.[/bold green] Ctrl-C stops it; its data stays in .tidegate/\n")
    whose = f"of {os.path.relpath(stack.config)}" if secrets is None else "made for you; yours go into tidegate.toml"
    facts = {
        "gate": f"{stack.gate_url}/webhooks/NAME",
        "sources": f"{', '.join(settings.sources)}: {whose}",
        "console": f"{stack.console_url}   token {stack.admin_token}",
        "redis": without_password(settings.require_redis()),
        "postgres": without_password(settings.require_postgres()),
        "logs": f"{os.path.relpath(stack.folder)}/*.log",
    }
    for name, fact in facts.items():
        console.print(f"  {name:<9} {fact}", markup=False, highlight=False, soft_wrap=True)
    if secrets is not None:
        body = json.dumps({"_id": "act_1", "type": "emailsOpened", "secret": secrets.lemlist})
        click.echo("\nSend an event:\n")
        click.echo(f"  curl -H 'Content-Type: application/json' -d '{body}' \\\n    {stack.gate_url}/webhooks/lemlist")
    name = next(iter(settings.sources))
    click.echo("\nIn another terminal:\n")
    click.echo("  . .tidegate/env")
    click.echo(f"  tidegate sources test {name}")
    click.echo("  tidegate audit\n")


def _wait_for_ctrl_c() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        signal.pause()
    except KeyboardInterrupt:
        return
