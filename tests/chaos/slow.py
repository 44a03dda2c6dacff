"""Handlers that are slow on purpose, and whose effects show when they happen twice: a row each, and no key.

While the file named by OVERLOAD_BRAKE is there each event takes the seconds it holds.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tidegate import Batch, Handlers
from tidegate.handlers import Transaction

SCHEMA = "CREATE TABLE effects (source text NOT NULL, provider_event_id text NOT NULL); -- no key, on purpose"

handlers = Handlers()


@handlers.batch("*", "*")
async def record(batch: Batch, tx: Transaction) -> None:
    """Take as long as the brake says, and record the effects."""
    brake = Path(os.environ["OVERLOAD_BRAKE"])
    if brake.exists():
        await asyncio.sleep(float(brake.read_text()) * len(batch))
    await tx.execute(
        "INSERT INTO effects SELECT * FROM unnest(%s::text[], %s::text[])",
        [[event.source for event in batch], [event.provider_event_id for event in batch]],
    )
