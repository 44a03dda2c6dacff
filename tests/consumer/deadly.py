"""Handlers that take their worker down, for tests that start real ones: what an event's type says is done to the process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from typing import Any

from tidegate import Event, Handlers

handlers = Handlers()


@handlers.on("*")
async def handle(event: Event, tx: Any) -> None:
    """Record the effect; then do the deed."""
    await tx.execute("INSERT INTO effects (name, times) VALUES (%s, 1)", [event.provider_event_id])
    match event.event_type:
        case "exits":
            os._exit(7)
        case "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "loops":
            while True:
                pass
        case "matches":
            re.match(r"(a|a)*b", "a" * 60)  # years, and nobody else gets the interpreter's lock
        case "stays":
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    continue
        case "hoards":
            hoard = []
            while True:
                hoard.append(bytearray(16 << 20))
