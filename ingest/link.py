"""What a supervisor and its gate processes say to each other: lines of text through a socket pair.

up      beat                its event loop turns; once a second
        ready               it accepts connections
        failed [3, "why"]   it ends with this exit code
down    stop, retire, hurry see leaving.py; said again they change nothing, unlike signals
        end of file         the supervisor is gone, however it died
"""

from __future__ import annotations

import contextlib
import socket

_BYTES_MAX = 65_536


class Link:
    """One end. It never blocks and never raises: who is at the other end may be dead."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._rest = b""
        self.ended = False
        """Nobody is at the other end any more."""

    def fileno(self) -> int:
        return self._end.fileno()

    def say(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self._end.send(line.encode() + b"\n")

    def hear(self) -> list[str]:
        """Return the lines that have come since."""
        while not self.ended:
            try:
                chunk = self._end.recv(_BYTES_MAX)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            self._rest += chunk
            self.ended = not chunk
        *lines, self._rest = self._rest.split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def close(self) -> None:
        self._end.close()
