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
    settings = context.settings()
    shown = settings.model_dump(mode="json")
    if settings.redis_url:
        shown["redis_url"] = redaction.without_password(settings.require_redis())
    if settings.postgres_url:
        shown["postgres_url"] = redaction.without_password(settings.require_postgres())
    click.echo(json.dumps(shown, indent=2))
