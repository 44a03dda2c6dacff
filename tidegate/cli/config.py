"""`tidegate config`"""

from __future__ import annotations

import json

import click

from tidegate.cli.context import Context
from tidegate.telemetry import redaction


@click.command("config")
@click.pass_obj
def command(context: Context) -> None:
    """Print the effective settings as JSON, secrets masked."""
    shown = context.settings().model_dump(mode="json")
    for name in ("redis_url", "postgres_url"):
        secret = getattr(context.settings(), name)
        shown[name] = redaction.without_password(secret.get_secret_value()) if secret else None
    click.echo(json.dumps(shown, indent=2))
