"""What any sequence of moves needs: a Redis, a loop to call it in, and the model to compare with after each call."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from itertools import cycle
from typing import Any, TypeVar

import pytest
from hypothesis.stateful import RuleBasedStateMachine
from redis.exceptions import ResponseError

from tests.stream.model import Model
from tests.stream.snapshot import HELD, label_of, take
from tidegate.stream import Client, Settlement, Stream, connect, is_nogroup
from tidegate.wire import Entry

T = TypeVar("T")
Fate = tuple[str, int, str | None]
"""Outcome, delay_ms and what it waits for."""


class Machine(RuleBasedStateMachine):
    """Calls to a real Redis from rules, which are synchronous."""

    def __init__(self, url: str, runner: asyncio.Runner) -> None:
        super().__init__()
        self.runner = runner
        self.client = self.run(self._connect(url))
        self.stream = Stream(self.client, prefix=f"m{secrets.token_hex(5)}", shards=2)
        self.model = Model()
        self.known: list[tuple[int, bytes, str]] = []
        """Everything a worker ever had in hand: shard, id, label."""
        self.labels = 0

    @staticmethod
    async def _connect(url: str) -> Client:
        return connect(url, timeout_seconds=5)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.get_loop().run_until_complete(call)  # Runner.run sets a signal handler each time

    def label(self, kind: str) -> str:
        self.labels += 1
        return f"{kind} {self.labels}"

    def same(
        self, times: int, call: Callable[[], Coroutine[Any, Any, T]], expected: Callable[[], T], *shards: int
    ) -> T:
        """Call ``times``, each with the answer the model gives."""
        for _ in range(times):
            answer = self.run(call())
            assert answer == expected()
            self.check(*shards)
        return answer

    def grouped(self, shard: int, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Call as a worker does: a group that is gone is noticed, and made anew."""
        if shard not in self.model.groups:
            with pytest.raises(ResponseError) as raised:
                self.run(call())
            assert is_nogroup(raised.value)
            assert self.run(self.stream.ensure_group(shard)) is True
            assert self.run(self.stream.ensure_group(shard)) is False
            self.model.groups.add(shard)
        return self.run(call())

    def in_hand(self, backs: Iterable[int], zombie: bool) -> tuple[int, list[tuple[bytes, str]]]:
        """Choose among what is pending, or what a ``zombie`` remembers; return a shard, and of it (id, label)."""
        every = [
            (copy.shard, copy.entry_id or b"", copy.label) for shard in (0, 1) for copy in self.model.pending(shard)
        ]
        if zombie or not every:
            every = self.known[::-1]
        chosen = [every[back % len(every)] for back in backs]
        return chosen[0][0], [(entry_id, label) for shard, entry_id, label in chosen if shard == chosen[0][0]]

    def decide(
        self, shard: int, chosen: Sequence[tuple[bytes, str]], fates: Sequence[Fate], times: int, restores: bool
    ) -> None:
        """Settle ``chosen``, (id, label), each with the next of ``fates``; and once more what was gone, if it ``restores``."""
        items: dict[bytes, Settlement] = {}
        for (entry_id, label), (outcome, delay_ms, parent) in zip(chosen, cycle(fates), strict=False):
            made = Settlement(entry_id, fitting(label, outcome), "shop", b"{}", delay_ms, parent, "x", label.encode())
            items[entry_id] = replace(made, waiting_for=None, held=True) if parent == HELD else made
        first = [replace(item, payload=None) for item in items.values()]
        move, expected = self.stream.settle, self.model.settle
        settled = self.same(times, lambda: move(shard, first), lambda: expected(shard, first), shard)
        if settled.gone and restores:
            again = [items[entry_id] for entry_id in settled.gone]
            self.same(times, lambda: move(shard, again), lambda: expected(shard, again), shard)

    def holder(self, shard: int, entry_id: bytes, otherwise: str) -> str:
        """Return who holds the entry."""
        copy = self.model.held(shard, entry_id)
        return otherwise if copy is None or copy.consumer is None else copy.consumer

    def took(self, shard: int, entries: list[Entry]) -> None:
        self.known += [(shard, entry.entry_id, label_of(entry.fields)) for entry in entries]

    def check(self, *shards: int) -> None:
        for shard in shards or (0, 1):
            self.model.check(shard, self.run(take(self.client, self.stream, shard)))

    @staticmethod
    async def plain(call: Awaitable[Any]) -> Any:
        return await call

    def teardown(self) -> None:
        self.run(self._clean())

    async def _clean(self) -> None:
        names = [key async for key in self.client.scan_iter(match=f"{self.stream.keys[0].prefix}:*", count=1000)]
        if names:
            await self.client.unlink(*names)
        await self.client.aclose()


def fitting(label: str, outcome: str) -> str:
    """Return ``outcome``, or the only one that a worker gives to what is no delivery."""
    if label.startswith("foreign"):
        return "foreign"
    return "dead" if label.startswith("lost") else outcome
