"""`tidegate init`"""

from __future__ import annotations

import click

from tidegate.cli.context import Context, opened_postgres
from tidegate.postgres import schema
from tidegate.settings import Settings
from tidegate.telemetry.redaction import without_password


@click.command("init")
@click.pass_obj
def command(context: Context) -> None:
    """Apply schema.sql to Postgres. Safe to repeat, and safe for two at once."""
    settings = context.settings()
    context.run(_apply(settings))
    where = without_password(settings.require_postgres())
    click.echo(f"schema version {schema.VERSION} is in place at {where}")


async def _apply(settings: Settings) -> None:
    async with opened_postgres(settings, "tidegate init", checked=False) as connection:
        await schema.apply(connection)
