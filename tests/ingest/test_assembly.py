"""A gate that stops is stopped, whatever the tasks beside it are doing."""

from __future__ import annotations

import asyncio

from ingest.assembly import _ended


async def test_a_task_that_misses_its_first_cancellation_is_told_again() -> None:
    """A library below may swallow one; waiting for such a task for ever would keep the gate from leaving."""
    missed = 0

    async def deaf_once() -> None:
        nonlocal missed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if missed:
                    raise
                missed += 1

    task = asyncio.create_task(deaf_once())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await _ended([task])
    assert (missed, task.cancelled()) == (1, True)
