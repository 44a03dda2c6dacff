"""Whose fault an exception is that comes out of a handler: Postgres', or the handler's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from tidegate.handlers import Ignore, Reject, Retry
from tidegate.postgres import Connection


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


@asynccontextmanager
async def handler_errors(connection: Connection, seconds: float) -> AsyncIterator[None]:
    """Turn what a handler raises into HandlerError, save for decisions, and for what the connection itself said.

    After ``seconds`` the handler is cancelled, the statement it waits for too: HandlerTimeoutError.
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
        if connection.closed or isinstance(error, psycopg.Error | UnicodeEncodeError):
            raise
        if isinstance(error, TimeoutError) and limit.expired():
            raise HandlerTimeoutError(seconds) from None
        raise HandlerError(error) from error
