"""What a person reads when `tidegate audit` is asked."""

from __future__ import annotations

import io

from rich.console import Console

from tests.fixtures import Rig, appendable, event
from tidegate import inbox
from tidegate.cli import audit


async def shown(rig: Rig) -> str:
    console = Console(file=io.StringIO(), width=200)
    audit.show(await rig.audit(), console)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


async def test_the_inbox_is_shown_once_it_was_used(rig: Rig) -> None:
    assert "inbox" not in await shown(rig)
    async with rig.pool.connection() as connection:
        await inbox.store(connection, [appendable(event("a")), appendable(event("b"))], rows_max=10, bytes_max=1 << 20)
    assert "inbox 2 waiting for Redis, 2 stored - 0 moved" in await shown(rig)
    await rig.upkeep(rig.worker()).unboxer.unbox()
    text = await shown(rig)
    assert "inbox 0 waiting for Redis, 2 stored - 2 moved" in text
    assert "unaccounted 0" in text


async def test_a_row_taken_out_of_the_inbox_is_named(rig: Rig) -> None:
    async with rig.pool.connection() as connection:
        await inbox.store(connection, [appendable(event("a"))], rows_max=10, bytes_max=1 << 20)
    await rig.rows_none("DELETE FROM inbox")
    text = await shown(rig)
    assert "Rows of the inbox, changed by another hand: 1 too few" in text
    assert "unaccounted 1" in text
    await rig.rows_none("UPDATE inbox_meter SET moved_total = 1")
