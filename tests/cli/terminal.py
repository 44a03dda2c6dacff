"""A terminal for a process, and what is on it."""

from __future__ import annotations

import os
import pty
import re
import threading
from types import TracebackType
from typing import Self

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Hand ``slave`` to a process; all it ever wrote is in ``text``, without colours and movements."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()
        self._seen = b""
        self._reader = threading.Thread(target=self._read)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # what Linux says when nobody has the other end open any more
                return
            if not data:
                return
            self._seen += data

    @property
    def text(self) -> str:
        return _CONTROL.sub("", self._seen.decode("utf-8", "replace"))

    def handed_over(self) -> None:
        """Close our own end of ``slave``: reading ends when the process does."""
        os.close(self.slave)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.join(20)
        os.close(self._master)
