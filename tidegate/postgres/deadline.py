"""The last resort against a silent network: a connection whose time is over is cut off from our side."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg.rows import TupleRow


class Connection(psycopg.AsyncConnection[TupleRow]):
    """A connection to Postgres that may be cut."""

    is_cut = False

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be asked of it any more. libpq itself only notices when it is asked."""
        return self.is_cut or self.closed


@contextmanager
def cut_after(connection: Connection, seconds: float) -> Iterator[None]:
    """Shut the connection's socket down unless the block ends within ``seconds``.

    The server's own limits do not reach us when what it says is lost on the way, and a query that is cancelled waits for
    an answer too. After the cut whoever waits gets psycopg.OperationalError, as if the server had hung up.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _cut, connection)
    try:
        yield
    finally:
        timer.cancel()


def _cut(connection: Connection) -> None:
    connection.is_cut = True
    with suppress(OSError, psycopg.Error):  # closed meanwhile
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as end:
            end.shutdown(socket.SHUT_RDWR)
