"""What the tests of the worker share: outcomes by their initials, effects that can be counted, and ways to die."""

from __future__ import annotations

import asyncio
from typing import Any

from consumer.outcome import Outcome
from tests.fixtures import Rig

A, D, I, R, X = Outcome.APPLIED, Outcome.DUPLICATE, Outcome.IGNORED, Outcome.RETRY, Outcome.DEAD  # noqa: E741


class DiedError(BaseException):
    """As if the process ended here: nothing of ours catches it."""


async def happened(rig: Rig) -> dict[str, int]:
    return dict(await rig.rows("SELECT name, times FROM effects"))


async def dies(*_args: Any, **_kwargs: Any) -> Any:
    raise asyncio.CancelledError


async def sweep(rig: Rig, worker: Any) -> int:
    """Let ``worker`` take over what others hold, as if their lease had run out."""
    upkeep = rig.upkeep(worker, lease_seconds=0)
    return await upkeep.sweep()


async def waits_for_lock(rig: Rig) -> bool:
    rows = await rig.rows("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return bool(rows[0][0] > 0)


async def is_reading(rig: Rig) -> bool:
    clients = await rig.stream.client.client_list()
    return any(client["cmd"] == "xreadgroup" and "b" in client["flags"] for client in clients)
