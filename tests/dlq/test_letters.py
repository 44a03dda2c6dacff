"""What a user would lose if letters were wrong: a death unseen, a search that leaves one out, a ledger that is off."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from dlq import letters
from dlq import replay as replaying
from dlq.letters import Death, Filter, Letter
from tests.dlq.conftest import Bury
from tests.fixtures import Rig, event
from tidegate.event import Attempt, Delivery


async def select(rig: Rig, wanted: Filter, *, limit: int = 100, before: Any = None) -> list[Letter]:
    async with rig.pool.connection() as connection:
        return await letters.select(connection, wanted, limit=limit, before=before)


async def names(rig: Rig, wanted: Filter) -> str:
    found = await select(rig, wanted)
    async with rig.pool.connection() as connection:
        assert await letters.count(connection, wanted) == len(found)
        assert [place[1] for place in await letters.keys(connection, wanted, limit=100)] == [one.id for one in found]
    return "".join(sorted(letter.provider_event_id for letter in found))


async def test_every_filter_chooses_and_all_of_them_together(rig: Rig, bury: Bury) -> None:
    a, b, c = await bury(
        event("a", source="shop", event_type="order.paid"),
        event("b", source="crm", event_type="order_paid"),
        Delivery(event("c", source="crm", event_type="100%"), malformed="no"),
    )
    async with rig.pool.connection() as connection:
        await letters.discard(connection, [b])
    await rig.rows_none(f"UPDATE dead_letters SET created_at = created_at - interval '1 hour' WHERE id = '{a}'")
    (newest, *_) = await select(rig, Filter())
    between = newest.created_at - timedelta(minutes=30)
    assert newest.id == c

    assert await names(rig, Filter()) == "abc"
    assert await names(rig, Filter(source="crm")) == "bc"
    assert await names(rig, Filter(source="CRM")) == ""
    assert await names(rig, Filter(event_type="order*")) == "ab"
    assert await names(rig, Filter(event_type="order_paid")) == "b"  # _ and % are no wildcards
    assert await names(rig, Filter(event_type="%")) == ""
    assert await names(rig, Filter(event_type="*%")) == "c"
    assert await names(rig, Filter(reason="malformed")) == "c"
    assert await names(rig, Filter(status="open")) == "ac"
    assert await names(rig, Filter(since=between)) == "bc"
    assert await names(rig, Filter(until=between)) == "a"
    assert await names(rig, Filter("crm", "1*", "malformed", "open", between)) == "c"
    assert await names(rig, Filter(source="'; DROP TABLE dead_letters --")) == ""


async def test_pages_leave_none_out_and_show_none_twice(rig: Rig, bury: Bury) -> None:
    ids = await bury(*(event(f"e-{number}") for number in range(7)))
    # Some of the same instant: time alone would not tell where a page ended.
    await rig.rows_none("UPDATE dead_letters SET created_at = '2026-01-01' WHERE provider_event_id > 'e-2'")
    seen: list[uuid.UUID] = []
    before = None
    while page := await select(rig, Filter(), limit=2, before=before):
        seen += [letter.id for letter in page]
        before = (page[-1].created_at, page[-1].id)
    assert sorted(seen) == sorted(ids)
    assert len(seen) == 7


async def test_a_letter_that_comes_meanwhile_moves_no_page(rig: Rig, bury: Bury) -> None:
    a, b = await bury(event("a"), event("b"))
    first = await select(rig, Filter(), limit=1)
    await bury(event("c"))
    second = await select(rig, Filter(), limit=1, before=(first[0].created_at, first[0].id))
    assert [first[0].id, second[0].id] == [b, a]


async def test_all_that_match_are_listed_page_by_page(rig: Rig, bury: Bury) -> None:
    ids = await bury(*(event(f"e-{number}") for number in range(5)))
    for size in (1, 2, 5, 6):
        async with rig.pool.connection() as connection:
            pages = [page async for page in replaying.matching(connection, Filter(), page=size)]
        assert [one for page in pages for one in page] == ids[::-1]
        assert max(map(len, pages)) <= size


async def test_a_letter_keeps_the_delivery_whole(rig: Rig, bury: Bury) -> None:
    sent = event(
        "a/ü", payload=b'{"n": 1.10}', key="order:1", headers={"user-agent": "shop/1"}, occurred_at_ms=1_700_000_000_123
    )
    (letter_id,) = await bury(sent)
    async with rig.pool.connection() as connection:
        (letter,) = await letters.get(connection, [letter_id, uuid.uuid4()])
    back = letter.delivery().event
    for name in ("source", "provider", "provider_event_id", "event_type", "key", "payload", "delivery_id", "headers"):
        assert getattr(back, name) == getattr(sent, name), name
    assert (back.occurred_at_ms, back.received_at_ms) == (sent.occurred_at_ms, sent.received_at_ms)
    assert back.attempt == 1  # it gets all its attempts again


async def test_text_that_postgres_cannot_store_becomes_a_letter_all_the_same(rig: Rig) -> None:
    odd = "a\x00b\ud800"
    delivery = Delivery(
        event(odd, event_type=odd, key=odd, payload=b"\x00\xff", headers={odd: odd}),
        (Attempt(1, "error", odd),),
        malformed=odd,
    )
    async with rig.pool.connection() as connection, connection.transaction(force_rollback=True):
        await letters.bury(connection, [Death(delivery, "malformed", "no", 0)])
        (letter,) = await letters.select(connection, Filter(), limit=1)
    assert letter.payload == b"\x00\xff"
    assert letter.provider_event_id == "a\ufffdb\ufffd"
    assert letter.history[0]["error"] == "a\ufffdb\ufffd"


async def test_writing_a_letter_twice_writes_one(rig: Rig) -> None:
    death = Death(Delivery(event("a")), "rejected", "no", 0)
    async with rig.pool.connection() as connection, connection.transaction(force_rollback=True):
        await letters.bury(connection, [death])
        await letters.bury(connection, [death, death])
        assert await letters.count(connection, Filter()) == 1
        assert (await letters.stored(connection)).deaths == 1


async def test_a_late_death_of_an_earlier_round_does_not_end_the_round_under_way(rig: Rig, bury: Bury) -> None:
    """A worker that slept since before the replay must not reopen the letter whose replay is on the stream."""
    sent = event("a")
    (letter_id,) = await bury(sent)
    async with rig.pool.connection() as connection, connection.transaction(force_rollback=True):
        await letters.begin_replay(connection, [letter_id])
        for replay, status in ((0, "replaying"), (1, "open"), (1, "open"), (0, "open")):
            await letters.bury(connection, [Death(Delivery(sent, replay=replay), "rejected", "no", 0)])
            (letter,) = await letters.get(connection, [letter_id])
            assert (letter.status, letter.replay_count) == (status, 1)


async def test_only_open_letters_are_discarded_and_the_ledger_knows(rig: Rig, bury: Bury) -> None:
    a, b = await bury(event("a"), event("b"))
    async with rig.pool.connection() as connection:
        assert await letters.discard(connection, [a, uuid.uuid4()]) == [a]
        assert await letters.discard(connection, [a]) == []
        assert await letters.begin_replay(connection, [a]) == []
        assert await letters.open_by_source(connection) == {"shop": 1}
    audit = await rig.audit()
    assert (audit.stored.letters, audit.stored.deaths, audit.unaccounted) == ({"open": 1, "discarded": 1}, 2, 0)
    assert [(letter.id, letter.resolved_at is None) for letter in await select(rig, Filter())] == [
        (b, True),
        (a, False),
    ]


async def test_counts_by_source_reason_and_status(rig: Rig, bury: Bury) -> None:
    await bury(event("a"), event("b"), event("c", source="crm"))
    await bury(Delivery(event("d", source="crm"), malformed="no"))
    async with rig.pool.connection() as connection:
        found = await letters.stats(connection, Filter())
        assert [(stat.source, stat.reason, stat.status, stat.count) for stat in found] == [
            ("crm", "malformed", "open", 1),
            ("crm", "rejected", "open", 1),
            ("shop", "rejected", "open", 2),
        ]
        assert found[2].oldest < found[2].newest
        assert await letters.stats(connection, Filter(source="nobody")) == []


async def test_the_newest_page_is_read_from_an_index(rig: Rig) -> None:
    """Sorting all letters for each page would make the console slow just when there are many."""
    await rig.rows_none(
        "INSERT INTO dead_letters (source, provider_event_id, event_type, payload, reason, delivery_id, received_at, "
        "status, created_at) SELECT 'shop', n::text, 't', '', 'rejected', gen_random_uuid(), now(), 'discarded', "
        "now() - n * interval '1 s' FROM generate_series(1, 20000) n; ANALYZE dead_letters"
    )
    plan = "\n".join(
        row[0]
        for row in await rig.rows(
            "EXPLAIN SELECT * FROM dead_letters WHERE (created_at, id) < (now(), gen_random_uuid()) "
            "ORDER BY created_at DESC, id DESC LIMIT 50"
        )
    )
    await rig.rows_none("TRUNCATE dead_letters")
    assert "dead_letters_newest" in plan
    assert "Sort" not in plan
