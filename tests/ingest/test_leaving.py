"""The last moments of a listening socket, where a client may have sent what nobody will read."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import sys

import pytest
from starlette.responses import PlainTextResponse

from ingest.leaving import Leaving, keep_newcomers_off
from tests.fixtures import until
from tidegate.serving import listen, server


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the gap of microseconds stays")
def test_who_comes_while_the_socket_is_closed_has_sent_nothing_and_who_came_before_is_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as late:
        early = socket.create_connection(listener.getsockname())
        keep_newcomers_off(listener)
        late.setblocking(False)
        late.connect_ex(listener.getsockname())
        accepted, _ = listener.accept()
        early.sendall(b"event")
        assert accepted.recv(5) == b"event"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        listener.close()
        select.select([], [late], [], 20)
        # Not "reset": that is what it gets who was connected, and may have sent its event.
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
        early.close()
        accepted.close()


async def test_who_connected_last_may_still_ask() -> None:
    """Uvicorn closes a connection that has asked nothing, also when its request is on the way."""
    listener = listen("127.0.0.1", 0)
    gate = server(PlainTextResponse("taken"))
    leaving = Leaving(gate, listener, notice_seconds=0, unready=lambda: None)
    serving = asyncio.create_task(gate.serve(sockets=[listener]))
    await until(lambda: _is(gate.started))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    leaving.stop()
    await until(lambda: _is(not gate.servers[0].is_serving()))
    assert not gate.should_exit
    writer.write(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.lower().count(b"connection: close") == 1
    writer.close()
    await serving


async def _is(fact: bool) -> bool:
    return fact
