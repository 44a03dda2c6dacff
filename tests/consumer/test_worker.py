"""What becomes of an event: applied, duplicate, ignored, retried or dead, with its effect exactly once."""

from __future__ import annotations

import uuid
from typing import Any

from tests.consumer.scene import A, D, I, R, X, happened
from tests.fixtures import Rig, event
from tidegate import Batch


async def test_an_event_is_applied_with_its_effect_and_recorded(rig: Rig, effects: Any) -> None:
    rig.handlers.on("shop", "order.*")(effects)
    sent = event("a", key="order:1", payload=b'{"price": 1.10}')
    await rig.send(sent)
    assert await rig.drain() == {A: 1}
    assert await happened(rig) == {"a": 1}
    (row,) = await rig.rows("SELECT source, event_type, key, delivery_id, outcome, payload ->> 'price' FROM events")
    assert row == ("shop", "order.paid", "order:1", sent.delivery_id, "applied", "1.10")


async def test_an_event_nobody_wants_is_stored_as_ignored(rig: Rig) -> None:
    await rig.send(event("a"))
    assert await rig.drain() == {I: 1}
    assert await rig.rows("SELECT outcome FROM events") == [("ignored",)]


async def test_a_second_delivery_of_an_event_is_a_duplicate_without_effect(rig: Rig, effects: Any) -> None:
    rig.handlers.on("shop")(effects)
    await rig.send(event("a"))
    await rig.drain()
    # The gate has forgotten the event: its early dedupe expires, the truth is in Postgres.
    shard = rig.stream.shard_of("shop", "a")
    await rig.stream.client.delete(*rig.stream._seen(rig.stream.keys[shard]))
    await rig.send(event("a"))
    assert await rig.drain() == {D: 1}
    assert await happened(rig) == {"a": 1}


async def test_a_batch_handler_decides_for_single_events(rig: Rig, effects: Any) -> None:
    async def decide(batch: Batch, tx: Any) -> None:
        for item in batch:
            kind = item.provider_event_id
            if kind == "retry" and item.attempt == 1:
                batch.retry(item, "later", after=0)
            elif kind == "reject":
                batch.reject(item, "never")
            elif kind == "ignore":
                batch.ignore(item)
            else:
                await effects(item, tx)

    rig.handlers.batch("shop")(decide)
    await rig.send(*(event(name) for name in ("plain", "retry", "reject", "ignore")))
    assert await rig.drain() == {A: 2, R: 1, X: 1, I: 1}
    assert await happened(rig) == {"plain": 1, "retry": 1}
    assert await rig.rows("SELECT reason, error FROM dead_letters") == [("rejected", "never")]
    assert sorted(await rig.rows("SELECT provider_event_id, outcome FROM events")) == [
        ("ignore", "ignored"),
        ("plain", "applied"),
        ("retry", "applied"),
    ]


async def test_the_same_event_twice_in_one_batch_takes_effect_once(rig: Rig, effects: Any) -> None:
    """Pitfall 17: the same key twice in one statement."""
    rig.handlers.on("shop")(effects)
    for _ in range(3):
        shard = rig.stream.shard_of("shop", "a")
        await rig.stream.client.delete(*rig.stream._seen(rig.stream.keys[shard]))
        await rig.send(event("a", delivery_id=uuid.uuid4()))
    assert await rig.drain() == {A: 1, D: 2}
    assert await happened(rig) == {"a": 1}
