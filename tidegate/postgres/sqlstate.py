"""What an error of Postgres means for the delivery at hand, told by SQLSTATE and not by exception class.

psycopg's classes mislead: 25P03 (idle in transaction) is an InternalError, 54000 (limit exceeded) an OperationalError, a
NUL byte a DataError without any SQLSTATE. An outage taken for bad data would fill the dead letters; bad data taken for an
outage would stop the worker.
"""

from __future__ import annotations

import enum

import psycopg
import psycopg_pool


class Kind(enum.Enum):
    """Who has to change for the same statement to succeed."""

    TRANSIENT = "transient"
    """Nobody: time heals it. Repeat the batch; no attempt is consumed."""
    SYSTEMIC = "systemic"
    """The operator: schema, rights or address are wrong. Pause and say so; nothing becomes a letter."""
    PERMANENT = "permanent"
    """This event: Postgres will refuse it for ever. It alone becomes a letter."""
    HANDLER = "handler"
    """The handler's code: consume an attempt, retry by schedule."""


_BY_STATE = {
    "25006": Kind.TRANSIENT,  # read_only_sql_transaction: a fail-over is under way
    "25P03": Kind.TRANSIENT,  # idle_in_transaction_session_timeout
    "25P04": Kind.TRANSIENT,  # transaction_timeout
    "40001": Kind.TRANSIENT,  # serialization_failure
    "40003": Kind.TRANSIENT,  # statement_completion_unknown
    "40P01": Kind.TRANSIENT,  # deadlock_detected
    "55P03": Kind.TRANSIENT,  # lock_not_available
    "57014": Kind.TRANSIENT,  # query_canceled: statement_timeout
    "XX001": Kind.SYSTEMIC,  # data_corrupted
    "XX002": Kind.SYSTEMIC,  # index_corrupted
}
_BY_CLASS = {
    "08": Kind.TRANSIENT,  # connection exception
    "53": Kind.TRANSIENT,  # insufficient resources: disk, memory, connections
    "58": Kind.TRANSIENT,  # system error
    "72": Kind.TRANSIENT,  # snapshot too old
    "F0": Kind.SYSTEMIC,  # the server's configuration file
    "0A": Kind.SYSTEMIC,  # feature not supported
    "26": Kind.SYSTEMIC,  # invalid statement name: a pooler between us and Postgres
    "28": Kind.SYSTEMIC,  # invalid authorization
    "3D": Kind.SYSTEMIC,  # no such database
    "3F": Kind.SYSTEMIC,  # no such schema
    "42": Kind.SYSTEMIC,  # no such table or column, no right to it
    "22": Kind.PERMANENT,  # data exception
    "23": Kind.PERMANENT,  # integrity constraint violation
    "54": Kind.PERMANENT,  # program limit exceeded: an index row, a jsonb string
}


_SCHEMA = ("42P01", "42703", "42883", "42704", "42501")
"""Of class 42, what is about names and rights: undefined table, column, function, object; no privilege."""


def is_handlers_own(error: psycopg.Error) -> bool:
    """Tell whether ``error``, out of a handler whose connection is alive, says nothing about our Postgres or our schema.

    Without a state, or of class 08: what failed is another connection, or the use of ours. Of class 42, but not about names
    and rights: a statement that is wrong in itself, often made of an event's data.
    """
    state = error.sqlstate or ""
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and (not state or state[:2] == "08"):
        return True
    return state[:2] == "42" and state not in _SCHEMA


def classify(error: BaseException) -> Kind:
    """Return what ``error``, raised while a batch was applied, means."""
    state = getattr(error, "sqlstate", None)
    if isinstance(error, psycopg.Error) and state:
        if state in _BY_STATE:
            return _BY_STATE[state]
        if state[:3] == "57P":  # admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped
            return Kind.TRANSIENT
        return _BY_CLASS.get(state[:2], Kind.HANDLER)
    if isinstance(error, psycopg_pool.PoolTimeout | psycopg_pool.TooManyRequests | psycopg_pool.PoolClosed):
        return Kind.TRANSIENT
    if isinstance(error, psycopg.DataError | UnicodeEncodeError):
        return Kind.PERMANENT  # refused by psycopg before it was sent: a NUL, a lone surrogate, an integer too large
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | OSError | TimeoutError):
        return Kind.TRANSIENT
    return Kind.HANDLER
