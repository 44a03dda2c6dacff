"""Connections to Postgres, each with limits: a statement, a lock and a forgotten transaction all end by themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg_pool import AsyncConnectionPool

from tidegate.errors import UnreachableError, UsageError
from tidegate.postgres.deadline import Connection, cut_after
from tidegate.postgres.sqlstate import Kind, classify
from tidegate.settings import PostgresSettings
from tidegate.telemetry.redaction import without_password

Pool = AsyncConnectionPool[Connection]


def parameters(url: str, settings: PostgresSettings, application: str) -> dict[str, Any]:
    """Return libpq parameters for ``url`` with our limits; raise UsageError when it is not a libpq URL.

    Options already in the URL come last, so that whoever wrote them has the last word.
    """
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise UsageError(f"postgres_url is not a libpq URL: {str(error).strip()}") from None
    limits = (
        f"-c statement_timeout={settings.statement_timeout_ms} -c lock_timeout={settings.lock_timeout_ms} "
        f"-c idle_in_transaction_session_timeout={settings.idle_in_transaction_timeout_ms} -c timezone=UTC"
    )
    return {
        "connect_timeout": max(2, int(settings.connect_timeout_seconds)),
        "application_name": application,
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "30000",  # what we sent and nobody acknowledged
        **given,
        "options": f"{limits} {given.get('options') or ''}".strip(),
    }


def pool(url: str, settings: PostgresSettings, application: str, *, max_size: int | None = None) -> Pool:
    """Return a closed pool; open it with ``async with``. A connection is checked before it is handed out."""

    async def check(connection: Connection) -> None:
        with cut_after(connection, settings.connect_timeout_seconds):
            await AsyncConnectionPool.check_connection(connection)

    return AsyncConnectionPool(
        kwargs=parameters(url, settings, application),
        connection_class=Connection,
        min_size=1,
        max_size=max_size or settings.pool_max,
        timeout=settings.connect_timeout_seconds,
        max_idle=300,
        reconnect_timeout=settings.connect_timeout_seconds,
        check=check,
        open=False,
    )


@asynccontextmanager
async def borrowed(pool: Pool, seconds: float) -> AsyncIterator[Connection]:
    """Lend a connection of ``pool``, committed at the end, rolled back by an error, and cut off after ``seconds``."""
    connection = await pool.getconn()
    try:
        with cut_after(connection, seconds):  # around the commit too: its answer may be what is lost
            async with connection:
                yield connection
    finally:
        await pool.putconn(connection)


async def connect(url: str, settings: PostgresSettings, application: str) -> Connection:
    """Return one connection; raise UnreachableError or UsageError in one line, without the password."""
    where = without_password(url)
    try:
        return await Connection.connect(**parameters(url, settings, application), autocommit=True)
    except psycopg.Error as error:
        text = " ".join(str(error).split())
        if classify(error) is Kind.SYSTEMIC or any(
            phrase in text for phrase in ("password authentication failed", "does not exist", "no password supplied")
        ):
            raise UsageError(f"Postgres at {where} refused us: {text}") from None
        raise UnreachableError(
            f"Postgres at {where} does not answer ({text}): start it, or set TIDEGATE_POSTGRES_URL"
        ) from None
