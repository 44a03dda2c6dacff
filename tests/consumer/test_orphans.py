"""Events that come before what they belong to: applied the moment their parent is, and never lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consumer.outcome import Schedule
from tests.consumer.scene import A, R, X, happened
from tests.fixtures import Rig, event
from tidegate import Batch, Event, Retry, release


async def test_an_orphan_is_applied_when_its_parent_comes_without_waiting_for_the_clock(rig: Rig, effects: Any) -> None:
    rig.schedule = Schedule([3_600_000], 0)
    parents: set[str] = set()

    async def child(batch: Batch, tx: Any) -> None:
        for item in batch:
            if "p" in parents:
                await effects(item, tx)
            else:
                batch.retry(item, waiting_for="parent:p")

    async def parent(item: Event, tx: Any) -> None:
        parents.add("p")
        release("parent:p")

    rig.handlers.batch("shop", "child")(child)
    rig.handlers.on("shop", "parent")(parent)
    await rig.send(*(event(f"o{n}", event_type="child") for n in range(5)))
    worker = rig.worker()
    await worker.intake.make_groups()
    while (await worker.run_once())[R]:
        pass
    await rig.send(event("p", event_type="parent"))
    outcomes = await rig.drain(worker)
    assert outcomes == {A: 6}
    assert await happened(rig) == {f"o{n}": 1 for n in range(5)}


async def test_a_parent_committed_while_its_orphan_was_being_parked_is_noticed(rig: Rig, effects: Any) -> None:
    """The release ran before the orphan was on the retry stream: the worker looks for the parent once more."""
    rig.schedule = Schedule([3_600_000], 0)

    async def child(item: Event, tx: Any) -> None:
        if item.attempt == 1:
            raise Retry(waiting_for="parent:p")
        await effects(item, tx)

    asked: list[str] = []

    async def lookup(names: Sequence[str], tx: Any) -> Sequence[str]:
        asked.extend(names)
        return names

    rig.handlers.on("shop")(child)
    rig.handlers.parent("parent")(lookup)
    await rig.send(event("o"))
    assert await rig.drain() == {R: 1, A: 1}
    assert asked == ["parent:p"]


async def test_an_orphan_whose_parent_never_comes_is_a_letter_that_says_so(rig: Rig) -> None:
    async def child(item: Event, tx: Any) -> None:
        raise Retry(waiting_for="parent:p")

    rig.handlers.on("shop")(child)
    await rig.send(event("o"))
    assert await rig.drain() == {R: 2, X: 1}
    assert await rig.rows("SELECT reason, error FROM dead_letters") == [("orphaned", "waiting for parent:p")]
