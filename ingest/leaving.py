"""How a gate process leaves: who has reached it gets an answer, and who can still choose another is sent there.

    stop     the gate goes away: /readyz turns false; it goes on accepting for ``notice_seconds``, then takes what has
             connected meanwhile, and only then closes the listening socket
    retire   another process has taken this one's place on the same socket: it accepts no more, and is as ready as it was
    hurry    cuts the notice short

Either way each answer closes its connection from the beginning, so that clients that keep theirs move on before it is
closed under a request of theirs. Then uvicorn finishes what is under way, for ``drain_seconds``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable

from ingest.link import Link
from tidegate.serving import Server, on_stop_signals
from tidegate.telemetry import logs

log = logs.get(__name__)

BEAT_SECONDS = 1.0
UNHEARD_SECONDS = 1.0
"""How long a connection that has not asked yet may still do so once nothing is accepted any more."""
EMPTY_SECONDS = 1.0
"""How long the listening socket is emptied where newcomers cannot be kept off it."""

_SO_ATTACH_FILTER = 26
# tcpdump -dd 'tcp[13] & 0x12 = 0x02', seen from the TCP header and turned round: drop what has SYN and not ACK.
_NO_NEWCOMERS = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),
        (0x54, 0, 0, 0x12),
        (0x15, 0, 1, 0x02),
        (0x06, 0, 0, 0),
        (0x06, 0, 0, 2**32 - 1),
    )
)


def keep_newcomers_off(listener: socket.socket) -> None:
    """Let the kernel pass over new connections to ``listener``; those in its queue stay.

    Closing a listening socket resets what connected since the last accept, so that no order of accepting and closing is
    safe while newcomers come. One who is passed over asks again after a second, and finds the next gate or nobody: either way it
    has sent nothing. Linux only; elsewhere that gap of microseconds stays.
    """
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(_NO_NEWCOMERS, len(_NO_NEWCOMERS))
    program = struct.pack("HL", len(_NO_NEWCOMERS) // 8, ctypes.addressof(code))
    with contextlib.suppress(OSError):  # a kernel, or a sandbox, without socket filters
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


class Leaving:
    """Serves, and leaves when told to: by signals, or by the supervisor at the other end of ``parent``."""

    def __init__(
        self,
        gate: Server,
        listener: socket.socket,
        *,
        notice_seconds: float,
        unready: Callable[[], None],
        close_each: Callable[[], None] | None = None,
        outlived: bool = False,
    ) -> None:
        """``unready`` turns /readyz false; ``close_each`` makes each answer close its connection (None: by a header of
        uvicorn's); ``outlived``: the listening socket belongs to somebody who goes on holding it (systemd)."""
        self._gate = gate
        self._listener = listener
        self._notice_seconds = notice_seconds
        self._unready = unready
        self._close_each = close_each or self._add_header
        self._outlived = outlived
        self._hurried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def serve(self, parent: Link | None = None) -> None:
        """Serve until told to leave, and return when the requests under way are answered."""
        loop = asyncio.get_running_loop()
        on_stop_signals(self.stop, self.hurry)
        if parent is None:
            loop.add_signal_handler(signal.SIGHUP, self.stop)  # its default would cut off the requests under way
            await self._gate.serve(sockets=[self._listener])
            return
        self._gate.on_started = lambda: parent.say("ready")
        loop.add_reader(parent, self._obey, parent)
        beating = asyncio.create_task(_beat(parent))
        try:
            await self._gate.serve(sockets=[self._listener])
        finally:
            beating.cancel()
            loop.remove_reader(parent)

    def stop(self) -> None:
        """The gate goes away."""
        self._begin(replaced=False)

    def retire(self) -> None:
        """Another process has taken our place."""
        self._begin(replaced=True)

    def hurry(self) -> None:
        """Cut the notice short."""
        self._hurried.set()

    def _begin(self, *, replaced: bool) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._leave(replaced=replaced))
        elif not replaced:
            self._unready()  # retiring, and now the whole gate goes away

    def _obey(self, parent: Link) -> None:
        for order in parent.hear():
            {"stop": self.stop, "retire": self.retire, "hurry": self.hurry}[order]()
        if parent.ended:
            # Nobody replaces us, and whoever starts the gate again needs the port: no notice.
            asyncio.get_running_loop().remove_reader(parent)
            log.warning("the supervisor is gone; this process leaves")
            self.stop()
            self.hurry()

    async def _leave(self, *, replaced: bool) -> None:
        log.info("gate leaves", replaced=replaced, notice_seconds=self._notice_seconds)
        try:
            self._close_each()
            if replaced:
                self._close_listener()
            else:
                self._unready()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), self._notice_seconds)
            if not replaced and not self._outlived:
                await self._take_what_is_there()
            self._close_listener()
            await self._hear_out()
        finally:
            self._gate.stop()

    def _add_header(self) -> None:
        header = (b"connection", b"close")
        self._gate.config.encoded_headers.append(header)  # what uvicorn makes its default headers of, once a second
        self._gate.server_state.default_headers.append(header)  # and those it has: requests under way share this list

    async def _take_what_is_there(self) -> None:
        keep_newcomers_off(self._listener)
        queue = select.poll()
        queue.register(self._listener, select.POLLIN)
        deadline = asyncio.get_running_loop().time() + EMPTY_SECONDS
        while any(event == select.POLLIN for _, event in queue.poll(0)):
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0)
        for _ in range(2):  # accepted, and given to the protocol
            await asyncio.sleep(0)

    def _close_listener(self) -> None:
        for each in getattr(self._gate, "servers", ()):
            each.close()

    async def _hear_out(self) -> None:
        """Wait a little for those who have connected and asked nothing: uvicorn would close them without an answer."""
        deadline = asyncio.get_running_loop().time() + UNHEARD_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
            if all(getattr(each, "cycle", each) is not None for each in self._gate.server_state.connections):
                return


async def _beat(parent: Link) -> None:
    while True:
        parent.say("beat")
        await asyncio.sleep(BEAT_SECONDS)
