"""What waits together is committed together, within its time, and is told what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from ingest.group_commit import GroupCommit, NotDurableError, OverloadedError
from tests.fixtures import appendable, event, until
from tidegate.stream import Appendable


class Server:
    """Commits when it is told to, and remembers what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.ready = asyncio.Event()
        self.open = True

    async def commit(self, items: Sequence[Appendable]) -> list[bool]:
        self.batches.append([item.provider_event_id for item in items])
        await self.ready.wait()
        return [True] * len(items)


def item(name: str, size: int = 1) -> Appendable:
    return appendable(event(name, payload=b"x" * size))


async def passed(seconds: float) -> None:
    """Return once so much time has passed: age is what these tests are about."""
    began = asyncio.get_running_loop().time()

    async def old_enough() -> bool:
        return asyncio.get_running_loop().time() - began > seconds

    await until(old_enough)


async def test_what_arrives_during_a_commit_shares_the_next_within_its_bounds() -> None:
    server = Server()
    group = GroupCommit(server.commit, events_max=4, wait_seconds=20)
    answers = [group.submit([item(name)]) for name in "abcdefg"]
    answers.append(group.submit([item("h"), item("i")]))
    server.ready.set()
    assert await asyncio.gather(*answers) == [[True]] * 7 + [[True, True]]
    assert server.batches == [list("abcd"), list("efg"), list("hi")]


async def test_what_has_waited_too_long_is_given_up_untried() -> None:
    """Its provider hung up long ago: appended all the same, it would hold up those whose providers still wait."""
    server = Server()
    group = GroupCommit(server.commit, events_max=1, wait_seconds=0.05)
    first = group.submit([item("first")])
    late = group.submit([item("late")])
    await passed(0.06)
    server.ready.set()
    assert await first == [True]
    with pytest.raises(OverloadedError):
        await late
    assert server.batches == [["first"]]


async def test_those_who_wait_for_a_server_that_turns_out_to_be_away_go_on_at_once_however_long_they_waited() -> None:
    server = Server()
    group = GroupCommit(server.commit, events_max=1, wait_seconds=0.05, is_open=lambda: server.open)
    first = group.submit([item("first")])
    late = group.submit([item("late")])
    await passed(0.06)
    server.open = False
    server.ready.set()
    assert await first == [True]
    with pytest.raises(NotDurableError):
        await late


async def test_a_failure_is_told_to_all_it_concerns_and_to_nobody_else() -> None:
    async def refuses_b(items: Sequence[Appendable]) -> list[bool]:
        if any(each.provider_event_id == "b" for each in items):
            raise NotDurableError("refused")
        return [True] * len(items)

    group = GroupCommit(refuses_b, events_max=2, wait_seconds=20)
    answers = await asyncio.gather(*(group.submit([item(name)]) for name in "abcd"), return_exceptions=True)
    assert [isinstance(answer, NotDurableError) for answer in answers] == [True, True, False, False]
    await group.drain()
