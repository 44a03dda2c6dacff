"""A table that counts how often each event took effect."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.fixtures import Rig
from tidegate import Event


@pytest.fixture
async def effects(rig: Rig) -> Any:
    """A table that counts how often each event took effect, and a function that writes to it."""
    await rig.rows_none("CREATE TABLE effects (name text PRIMARY KEY, times int NOT NULL)")

    async def write(item: Event, tx: psycopg.AsyncConnection[Any]) -> None:
        await tx.execute(
            "INSERT INTO effects VALUES (%s, 1) ON CONFLICT (name) DO UPDATE SET times = effects.times + 1",
            [item.provider_event_id],
        )

    return write
