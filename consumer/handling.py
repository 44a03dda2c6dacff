"""Whose fault an exception is that comes out of a handler: Postgres', or the handler's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from tidegate.handlers import Ignore, Reject, Retry
from tidegate.postgres import Connection
from tidegate.postgres.origin import connection_of
from tidegate.postgres.sqlstate import is_handlers_own


class HandlerError(Exception):
    """What a handler raised of its own. The text names the original's type.

    An API of the handler's that is down is not an outage of Postgres: it costs this event an attempt, and stops no batch.
    """

    def __init__(self, error: BaseException) -> None:
        try:
            text = str(error)
        except Exception:
            text = "(its text cannot be read)"
        super().__init__(f"{type(error).__name__}: {text}")


class HandlerTimeoutError(HandlerError):
    """A handler was stopped because its time was over."""

    def __init__(self, seconds: float) -> None:
        super().__init__(TimeoutError(f"the handler took longer than {seconds:g} s"))


class BlockedError(Exception):
    """A row that the handler wants is locked by somebody else for longer than we wait. Nobody's fault: try again later."""


class OvertimeError(Exception):
    """The handlers of a transaction took longer than they may, and it could not be kept: it is to be halved."""


class StatementTimeoutError(Exception):
    """A statement of a handler ran into Postgres' own limits; seldom its fault, unless it does so again and again."""

    def __init__(self, cause: psycopg.Error) -> None:
        super().__init__(str(cause).partition("\n")[0])
        self.cause = cause

    def verdict(self) -> Exception:
        """Return what it means for the one event that does so again and again."""
        if isinstance(self.cause, psycopg.errors.LockNotAvailable):
            return BlockedError(str(self))
        return HandlerError(self.cause)


@asynccontextmanager
async def handler_errors(connection: Connection, seconds: float) -> AsyncIterator[None]:
    """Turn what a handler raises into HandlerError, save for decisions, and for what our connection itself said.

    After ``seconds`` the handler is cancelled, the statement it waits for too: HandlerTimeoutError. One that would not stop
    before its connection had to be cut: OvertimeError. Statements that timed out: StatementTimeoutError.
    """
    task = asyncio.current_task()
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except (Retry, Reject, Ignore):
        raise
    except asyncio.CancelledError as error:
        if task is not None and task.cancelling():
            raise  # ours: the worker was told to leave
        raise HandlerError(error) from error
    except (SystemExit, KeyboardInterrupt) as error:
        raise HandlerError(error) from error  # sys.exit() in a handler is no reason to stop a worker
    except Exception as error:
        raise _meant(error, connection, seconds if limit.expired() else None) from error
    if limit.expired() and connection.is_lost:
        raise OvertimeError


def _meant(error: Exception, connection: Connection, expired_seconds: float | None) -> Exception:
    """Return what ``error`` is to us: itself when Postgres said it on our connection, else the handler's."""
    if expired_seconds is not None and connection.is_lost:
        return OvertimeError()
    if expired_seconds is not None and isinstance(error, TimeoutError):
        return HandlerTimeoutError(expired_seconds)
    if isinstance(error, psycopg.Error) and connection_of(error) not in (None, connection):
        return HandlerError(error)
    if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable):
        return StatementTimeoutError(error)
    if connection.is_lost or isinstance(error, UnicodeEncodeError):
        return error
    if isinstance(error, psycopg.Error) and not is_handlers_own(error):
        return error
    return HandlerError(error)
