"""A TCP proxy before a server: it may cut its connections, go deaf, be slow, or lose the answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

CHUNK_BYTES = 1 << 18


class Proxy:
    """Forwards a port of its own to ``target_port``, both on 127.0.0.1. Every fault holds until it is lifted."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        """Known once started."""
        self.delay_seconds = 0.0
        """How long every piece is held back, either way."""
        self._target_port = target_port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._losing = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut all and listen no more."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection; new ones are served."""
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            if connection is not None:
                with contextlib.suppress(OSError):  # it has just ended by itself
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def stall(self) -> None:
        """Accept connections and bytes, and let nothing through, as a network that went silent."""
        self._flowing.clear()

    def flow(self) -> None:
        """Let everything through again, what was held back too: it arrives late, even of clients that have gone."""
        self._flowing.set()

    def lose_answers(self) -> None:
        """Let requests through and drop what the server answers."""
        self._losing = True

    def answer(self) -> None:
        """Let answers through again, on new connections: those that missed some are cut."""
        self._losing = False
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._writers.add(writer)
        try:
            await self._connect(reader, writer)
        except asyncio.CancelledError:
            pass  # asyncio reports a handler that was cancelled as an error
        finally:
            self._writers.discard(writer)
            self._serving.discard(task)
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:  # it is down
            writer.transport.abort()
            return
        self._writers.add(to_server)
        pumps = [
            asyncio.create_task(self._pump(reader, to_server, answers=False)),
            asyncio.create_task(self._pump(from_server, writer, answers=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._writers.discard(to_server)
            to_server.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):  # either end may go at any time
            while data := await reader.read(CHUNK_BYTES):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                await self._flowing.wait()
                if answers and self._losing:
                    continue
                writer.write(data)
                await writer.drain()
