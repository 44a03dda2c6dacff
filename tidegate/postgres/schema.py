"""The tables: applied by `tidegate init`, checked by every process before it starts."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import psycopg

from tidegate.errors import UsageError
from tidegate.postgres.deadline import Connection

VERSION = 2
_LOCK = 0x7469_6465  # "tide": two `tidegate init` at once take turns


def text() -> str:
    """Return schema.sql, from the installed package or from the checkout it is developed in."""
    packaged = resources.files("tidegate").joinpath("schema.sql")
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).parents[2] / "schema.sql").read_text(encoding="utf-8")


async def apply(connection: Connection) -> None:
    """Create what is missing, in one transaction; raise UsageError when a newer Tidegate was here."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        found = await _version(connection)
        if found is not None and found > VERSION:
            raise UsageError(_wrong(found))
        await connection.execute(text().encode())


async def check(connection: Connection) -> None:
    """Raise UsageError saying what to do unless the tables are there in our version."""
    found = await _version(connection)
    if found is None:
        raise UsageError("Postgres has no Tidegate tables: run `tidegate init`")
    if found != VERSION:
        raise UsageError(_wrong(found))


def _wrong(found: int) -> str:
    if found > VERSION:
        return f"Postgres has schema version {found}, this Tidegate knows {VERSION}: upgrade Tidegate"
    return f"Postgres has schema version {found}, this Tidegate needs {VERSION}: run `tidegate init`"


async def _version(connection: Connection) -> int | None:
    try:
        async with connection.transaction():
            cursor = await connection.execute("SELECT max(version) FROM tidegate_schema")
            row = await cursor.fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    return row[0] if row else None
