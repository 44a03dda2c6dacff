"""What is on record of a secret is never less than what it did: else it would be taken out while it is still needed."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tidegate.stream import Client, SecretUse, SecretUses, Used
from tidegate.stream.keys import secret_uses
from tidegate.stream.secret_uses import mark

T = 1_764_000_000_000


@pytest.fixture
def uses(client: Client, prefix: str) -> SecretUses:
    return SecretUses(client, prefix)


async def one(uses: SecretUses, label: str, source: str = "shop") -> SecretUse:
    (found,) = [use for use in (await uses.load())[source] if use.label == label]
    return found


def old(count: int = 0, first_ms: int = 0, last_ms: int = 0) -> Used:
    return Used("shop", "0a", "env:OLD", count, first_ms, last_ms)


def new(count: int = 0, first_ms: int = 0, last_ms: int = 0) -> Used:
    return Used("shop", "0b", "label: with, colons", count, first_ms, last_ms)


async def test_a_secret_is_known_before_it_verifies_and_counted_when_it_does(uses: SecretUses) -> None:
    await uses.tell([old(), new()], T)
    assert await uses.load() == {
        "shop": [
            SecretUse("0a", "env:OLD", T, T, 0, None, None, 0, 0),
            SecretUse("0b", "label: with, colons", T, T, 0, None, None, 0, 0),
        ]
    }
    await uses.tell([old(3, T + 100, T + 300)], T + 1000)
    await uses.tell([old(2, T + 900, T + 950)], T + 2000)
    assert await one(uses, "env:OLD") == SecretUse("0a", "env:OLD", T, T + 2000, 5, T + 100, T + 950, 600, 0)


async def test_what_others_verified_since_is_counted_for_each(uses: SecretUses) -> None:
    await uses.tell([old(10, T, T)], T)
    await uses.tell([new()], T + 1)
    assert (await one(uses, new().label)).since == 0  # what came before it was known says nothing of it
    await uses.tell([new(4, T, T), Used("crm", "0a", "env:OLD", 7, T, T)], T + 2)
    await uses.tell([new(4, T, T)], T + 3)
    await uses.tell([old(), new()], T + 60_000)  # each minute: it changes nothing
    assert [use.since for use in (await uses.load())["shop"]] == [8, 0]
    await uses.tell([old(1, T + 9, T + 9), new(1, T + 9, T + 9)], T + 10)
    assert [use.since for use in (await uses.load())["shop"]] == [0, 0]


async def test_what_we_sent_ourselves_is_no_evidence_for_one_or_against_another(uses: SecretUses) -> None:
    """Else a test every hour would stand for the provider's traffic in the days that an old secret is waited for."""
    await uses.tell([old(10, T, T), new()], T)
    await uses.tell([Used("shop", "0b", new().label, 3, 0, 0, own=3)], T + 5)
    second = (await uses.load())["shop"][1]
    assert (second.count, second.first_ms, second.last_ms, second.since) == (3, None, None, 0)
    await uses.tell([old(2, T + 6, T + 6)], T + 6)
    await uses.tell([Used("shop", "0b", new().label, 1, 0, 0, own=1)], T + 7)
    assert (await uses.load())["shop"][1].since == 2
    await uses.tell([Used("shop", "0b", new().label, 7, T + 1, T + 9, own=5)], T + 9)
    first, second = (await uses.load())["shop"]
    assert (first.since, second.count, second.first_ms, second.last_ms) == (2, 11, T + 1, T + 9)


async def test_gates_that_tell_late_or_out_of_order_make_nothing_older(uses: SecretUses) -> None:
    """One that had no Redis for an hour tells of an hour ago: a later use that another has told of stays the last."""
    told = [old(1, T + at, T + at) for at in (5000, 1000, 9000)]
    for order in itertools.permutations(told):
        await uses.forget(T * 2)
        for used in order:
            await uses.tell([used], used.last_ms)
        found = await one(uses, "env:OLD")
        assert (found.count, found.first_ms, found.last_ms, found.held_ms) == (3, T + 1000, T + 9000, T + 9000)


async def test_several_gates_at_once_add_up(uses: SecretUses) -> None:
    await asyncio.gather(*(uses.tell([old(1, T + n, T + n), new(2, T + n, T + n)], T + n) for n in range(50)))
    assert [(use.count, use.first_ms, use.last_ms) for use in (await uses.load())["shop"]] == [
        (50, T, T + 49),
        (100, T, T + 49),
    ]


async def test_the_longest_silence_that_it_came_back_from_is_kept(uses: SecretUses) -> None:
    for at in (0, 100, 700_000, 700_100):
        await uses.tell([old(1, T + at, T + at)], T + at)
    assert (await one(uses, "env:OLD")).silence_ms == 699_900


async def test_sent_again_after_a_lost_answer_no_time_changes(uses: SecretUses) -> None:
    await uses.tell([old(3, T, T + 10)], T)
    before = await one(uses, "env:OLD")
    await uses.tell([old(3, T, T + 10)], T)
    after = await one(uses, "env:OLD")
    assert (before.first_ms, before.last_ms, before.silence_ms) == (after.first_ms, after.last_ms, after.silence_ms)


async def test_only_what_no_gate_has_had_for_long_is_forgotten(uses: SecretUses, client: Client, prefix: str) -> None:
    await uses.tell([old(3, T, T), new(3, T, T)], T)
    await uses.tell([new()], T + 100)  # it has not verified since either, but somebody still has it
    assert await uses.forget(T + 50) == 1
    assert [use.label for use in (await uses.load())["shop"]] == [new().label]
    assert not [name async for name, _ in client.hscan_iter(secret_uses(prefix), match="*:0a")]
    await uses.tell([old()], T + 200)
    assert await one(uses, "env:OLD") == SecretUse("0a", "env:OLD", T + 200, T + 200, 0, None, None, 0, 0)


async def test_what_another_hand_wrote_there_hides_no_other_record(
    uses: SecretUses, client: Client, prefix: str
) -> None:
    for name in (
        "x",
        "",
        ":",
        "count",
        "count:shop",
        "count:shop:0c",
        "a:b:c:d",
        "known_ms:shop:0d",
        b"\xff:\xff:\xff",
    ):
        await client.hset(secret_uses(prefix), name, b"\xff1e99")
    await client.hset(secret_uses(prefix), mapping={"known_ms:shop:0e": "9" * 400, "known_ms:shop:0f": "-1"})
    await client.hset(secret_uses(prefix), "known_ms:shop:1a", "999999999999999")  # of no year that a date can have
    await uses.tell([old(1, T, T)], T)
    assert [use.label for use in (await uses.load())["shop"]] == ["env:OLD"]


def test_a_mark_tells_two_secrets_apart_and_is_too_short_to_tell_one() -> None:
    assert mark("shop", "a") != mark("shop", "b")
    assert mark("shop", "a") != mark("crm", "a")
    assert len(mark("shop", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")) == 4
