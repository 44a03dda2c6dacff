"""Which connection an error came from: a handler may talk to another Postgres as well."""

from __future__ import annotations

import traceback

import psycopg


def connection_of(error: psycopg.Error) -> object | None:
    """Return the connection that raised ``error``; None when its traceback does not tell.

    psycopg keeps no reference to it. But it was raised by a method of the connection, or of a cursor or transaction of it.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        if isinstance(owner, psycopg.AsyncConnection | psycopg.Connection):
            return owner
        if isinstance(owner, psycopg.AsyncCursor | psycopg.Cursor | psycopg.AsyncTransaction | psycopg.Transaction):
            return owner.connection
    return None
