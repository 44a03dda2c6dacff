"""Any sequence of moves on a real Redis, with crashes, lost answers and strange hands, keeps every delivery in one place.

Hypothesis chooses the moves; `tests/stream/model.py` says what each must do; after each of them the streams, the pending
lists, the due times and the ledger are compared with it, and the law is checked.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from tests.stream import snapshot
from tests.stream.machine import Fate, Machine
from tests.stream.model import Copy
from tests.stream.snapshot import marker_label, take
from tests.stream.steps import PLENTY
from tidegate.stream import GROUP, Appendable, Stuck
from tidegate.wire import Entry

SHARDS = st.sampled_from([0, 1])
CONSUMERS = st.sampled_from(["w1", "w2", "w3"])
NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])
ROWS = st.sampled_from(["row 1", "row 2", "row 3"])
PARENTS = st.sampled_from(snapshot.PARENTS)
RECENT = st.integers(0, 12)
ZOMBIE = st.sampled_from([False, False, True])
BOOLEANS = st.booleans()
EXAMPLES = 80
TIMES = st.sampled_from([1, 1, 1, 2])
"""How often a call reaches the server: twice when its first answer was lost."""

FATES = st.lists(
    st.tuples(
        st.sampled_from(["applied", "duplicate", "ignored", "dead", "retry", "retry", "retry", "retry"]),
        st.sampled_from([0, 0, 3_600_000]),
        st.sampled_from([None, *snapshot.PARENTS]),
    ),
    min_size=1,
    max_size=3,
)


class Moves(Machine):
    """Workers that forget, repeat and come late, over the real moves."""

    @initialize()
    def begin(self) -> None:
        """Something in every place: chance alone is long in bringing it there."""
        for shard in (0, 1):
            self.append(shard, ["a", "b", "c", "d", "e", "a"], 1)
            self.stranger(shard, "events")
            self.read(shard, "w1", 2, False, False)
            self.settle([0, 1], [("retry", 0, "p:2"), ("retry", 3_600_000, "p:1")], 1, False, True)
            self.read(shard, "w2", 3, False, False)

    # The gate, and people.

    @rule(shard=SHARDS, names=st.lists(NAMES, min_size=1, max_size=4), times=TIMES)
    def append(self, shard: int, names: list[str], times: int) -> None:
        items = [(name, self.label("copy")) for name in names]
        sent = [appendable(name, label) for name, label in items]
        self.same(times, lambda: self.stream.append(shard, sent), lambda: self.model.append(shard, items), shard)

    @rule(shard=SHARDS, name=NAMES, number=st.integers(1, 3), times=TIMES)
    def replay(self, shard: int, name: str, number: int, times: int) -> None:
        label = self.label("copy")
        item = (appendable(name, label), name.encode(), number)
        self.same(
            times,
            lambda: self.stream.replay(shard, [item]),
            lambda: self.model.replay(shard, name, number, label),
            shard,
        )

    @rule(shard=SHARDS, rows=st.lists(st.tuples(NAMES, ROWS), min_size=1, max_size=4), forgets=BOOLEANS, times=TIMES)
    def unbox(self, shard: int, rows: list[tuple[str, str]], forgets: bool, times: int) -> None:
        """By any mover, however late: the same rows again and again, though the gate's memory of them has expired."""
        if forgets:
            self.run(self.plain(self.client.delete(*self.stream._seen(self.stream.keys[shard]))))
            self.model.seen -= {(at, name) for at, name in self.model.seen if at == shard}
        items = [(name, row, self.label("copy")) for name, row in rows]
        sent = [replace(appendable(name, label), meta=row.encode()) for name, row, label in items]
        self.same(times, lambda: self.stream.unbox(shard, sent), lambda: self.model.unbox(shard, items), shard)

    # Workers.

    @rule(shard=SHARDS, consumer=CONSUMERS, count=st.integers(1, 6), blocking=st.booleans(), lost=st.booleans())
    def read(self, shard: int, consumer: str, count: int, blocking: bool, lost: bool) -> None:
        if blocking:
            entries = self.grouped(
                shard, lambda: self.stream.read(self.client, consumer, count=count, block_ms=None, shards=[shard])
            )
        else:
            entries = self.grouped(
                shard, lambda: self.stream.fetch(self.client, shard, consumer, count=count, bytes_max=PLENTY)
            )
        assert len(entries) == self.model.unread(shard, count)
        by_id = {copy.entry_id: copy for copy in self.model.on(shard, "events") if copy.consumer is None}
        for entry in entries:
            copy = by_id.pop(entry.entry_id)
            copy.consumer, copy.deliveries = consumer, 1
        if not lost:
            self.took(shard, entries)
        self.check(shard)

    @precondition(lambda self: self.known)
    @rule(backs=st.lists(RECENT, min_size=1, max_size=3), fates=FATES, times=TIMES, restores=BOOLEANS, zombie=ZOMBIE)
    def settle(self, backs: list[int], fates: list[Fate], times: int, restores: bool, zombie: bool) -> None:
        """By whoever once read it: its owner, one that lost it, or one that settled it before."""
        shard, chosen = self.in_hand(backs, zombie)
        self.decide(shard, chosen, fates, times, restores)

    @rule(shard=SHARDS, consumer=CONSUMERS, fates=FATES, times=TIMES, restores=BOOLEANS)
    def work(self, shard: int, consumer: str, fates: list[Fate], times: int, restores: bool) -> None:
        """A worker that works: it reads, and settles all it has."""
        self.read(shard, consumer, 6, False, False)
        mine = [(copy.entry_id or b"", copy.label) for copy in self.model.pending(shard, consumer)]
        if mine:
            self.decide(shard, mine, fates, times, restores)

    @rule(
        shard=SHARDS,
        consumer=CONSUMERS,
        idle_ms=st.sampled_from([0, 0, 60_000]),
        bytes_max=st.sampled_from([1, PLENTY]),
        deliveries_max=st.integers(1, 4),
        skip=st.integers(0, 2),
        lost=st.booleans(),
    )
    def claim(
        self, shard: int, consumer: str, idle_ms: int, bytes_max: int, deliveries_max: int, skip: int, lost: bool
    ) -> None:
        stuck = self.grouped(shard, lambda: self.stream.stuck(shard, idle_ms=0, count=100))
        # Seen by a sweeper that was slow: what it knows of may have been settled since.
        old = [Stuck(entry_id, "w1", 0, 1) for at, entry_id, _ in self.known[-skip:] if at == shard and skip]
        wanted = [*old, *stuck[skip:]]
        claimed = self.run(
            self.stream.claim(
                shard, consumer, wanted, idle_ms=idle_ms, bytes_max=bytes_max, deliveries_max=deliveries_max
            )
        )
        taken, marked = self.model.claim(
            shard,
            consumer,
            [item.entry_id for item in wanted],
            idle=idle_ms > 0,
            one=bytes_max == 1,
            deliveries_max=deliveries_max,
        )
        assert ([(entry.entry_id, entry.deliveries) for entry in claimed.entries], claimed.lost) == (taken, marked)
        if not lost:
            self.took(shard, claimed.entries)
        self.check(shard)

    @rule(shard=SHARDS, consumers=st.permutations(["w1", "w2", "w3"]), count=st.integers(1, 4), times=TIMES)
    def restart(self, shard: int, consumers: list[str], count: int, times: int) -> None:
        """Workers under the names they had before find what they had."""
        for consumer in consumers:
            self.own(shard, consumer, count, times)

    def own(self, shard: int, consumer: str, count: int, times: int) -> None:
        async def pages() -> tuple[list[Entry], int]:
            found: list[Entry] = []
            lost, cursor = 0, cast(bytes | None, b"")
            while cursor is not None:
                page = await self.stream.own(self.client, shard, consumer, after=cursor, count=count, bytes_max=PLENTY)
                found, lost, cursor = found + page.entries, lost + page.lost, page.cursor
            return found, lost

        for _ in range(times):
            entries, marked = self.grouped(shard, pages)
            assert ([(entry.entry_id, entry.deliveries) for entry in entries], marked) == self.model.own(
                shard, consumer
            )
            self.check(shard)
        self.took(shard, entries)

    @precondition(lambda self: self.known)
    @rule(
        consumer=CONSUMERS,
        backs=st.lists(RECENT, min_size=1, max_size=4),
        times=TIMES,
        leaves=st.booleans(),
        zombie=ZOMBIE,
    )
    def beat_or_hand_back(self, consumer: str, backs: list[int], times: int, leaves: bool, zombie: bool) -> None:
        shard, chosen = self.in_hand(backs, zombie)
        ids = [entry_id for entry_id, _ in chosen]
        consumer = consumer if zombie else self.holder(shard, ids[0], consumer)
        self.grouped(shard, lambda: self.stream.pending_of(shard, consumer))
        if leaves:
            give, given = self.stream.hand_back, self.model.hand_back
            self.same(
                times, lambda: give(shard, consumer, ids, idle_ms=60_001), lambda: given(shard, consumer, ids), shard
            )
        else:
            beat, beaten = self.stream.beat, self.model.beat
            self.same(times, lambda: beat(shard, consumer, ids), lambda: beaten(shard, consumer, ids), shard)

    @precondition(lambda self: self.known)
    @rule(consumer=CONSUMERS, back=RECENT, deliveries=st.integers(1, 6), times=TIMES, zombie=ZOMBIE)
    def on_trial(self, consumer: str, back: int, deliveries: int, times: int, zombie: bool) -> None:
        shard, ((entry_id, _),) = self.in_hand([back], zombie)
        consumer = consumer if zombie else self.holder(shard, entry_id, consumer)
        self.grouped(shard, lambda: self.stream.pending_of(shard, consumer))
        self.same(
            times,
            lambda: self.stream.on_trial(shard, consumer, entry_id, deliveries=deliveries),
            lambda: self.model.on_trial(shard, consumer, entry_id, deliveries),
            shard,
        )

    @rule(shard=SHARDS, consumer=CONSUMERS, times=TIMES)
    def retire(self, shard: int, consumer: str, times: int) -> None:
        ids = [copy.entry_id for copy in self.model.pending(shard, consumer)]
        assert self.grouped(shard, lambda: self.stream.pending_of(shard, consumer)) == ids
        self.same(times, lambda: self.stream.retire(shard, consumer), lambda: not ids, shard)

    # Upkeep.

    @rule(
        shard=SHARDS,
        count=st.integers(1, 5),
        room=st.integers(0, 20),
        floor=st.integers(0, 3),
        bytes_max=st.sampled_from([1, PLENTY, PLENTY]),
        times=TIMES,
    )
    def reenter(self, shard: int, count: int, room: int, floor: int, bytes_max: int, times: int) -> None:
        for _ in range(times):
            limit = min(count, max(floor, room - len(self.model.on(shard, "events"))))
            answer = self.run(self.stream.reenter(shard, count=count, room=room, floor=floor, bytes_max=bytes_max))
            labels = {label for _, label in self.run(take(self.client, self.stream, shard)).events}

            def left(copy: Copy, labels: set[str] = labels) -> bool:
                return (marker_label("retry", copy.entry_id or b"") if copy.gone else copy.label) in labels

            self.model.reenter(shard, answer, left, limit=limit, one=bytes_max == 1)
            self.check(shard)

    @rule(parent=PARENTS, times=TIMES)
    def release(self, parent: str, times: int) -> None:
        held = parent == snapshot.HELD
        move = (lambda: self.stream.resume("shop")) if held else (lambda: self.stream.release([parent]))
        self.same(times, move, lambda: self.model.release(parent))

    @rule(shard=SHARDS, times=TIMES)
    def mend(self, shard: int, times: int) -> None:
        self.same(times, lambda: self.stream.mend(shard), lambda: self.model.mend(shard), shard)

    # Strange hands.

    @rule(shard=SHARDS, place=st.sampled_from(["events", "events", "retry"]))
    def stranger(self, shard: int, place: str) -> None:
        copy = self.model.add(self.label("foreign"), shard, place)
        keys = self.stream.keys[shard]
        self.run(self.plain(self.client.xadd(getattr(keys, place), {"hello": copy.label})))
        self.check(shard)

    @rule(shard=SHARDS, back=RECENT)
    def delete_pending(self, shard: int, back: int) -> None:
        found = [copy for copy in self.model.pending(shard) if not copy.gone and not copy.is_foreign]
        if found:
            copy = found[back % len(found)]
            self.run(self.plain(self.client.xdel(self.stream.keys[shard].events, copy.entry_id or b"")))
            copy.gone = True
            self.check(shard)

    @rule(shard=SHARDS, back=RECENT, whole=st.booleans())
    def delete_retry(self, shard: int, back: int, whole: bool) -> None:
        """The entry, or its due time. Both at once would be a delivery that nobody could ever tell of."""
        found = [copy for copy in self.model.on(shard, "retry") if copy.due is not None and not copy.is_foreign]
        if found:
            copy = found[back % len(found)]
            if whole:
                self.run(self.plain(self.client.xdel(self.stream.keys[shard].retry, copy.entry_id or b"")))
                copy.gone = True
            else:
                self.run(self.plain(self.client.zrem(self.stream.keys[shard].due, copy.entry_id or b"")))
                copy.due = None
            self.check(shard)

    @rule(shard=SHARDS, dice=st.integers(1, 6))
    def destroy_group(self, shard: int, dice: int) -> None:
        # Seldom: nobody is in the middle of anything afterwards.
        if shard in self.model.groups and dice == 4:
            self.run(self.plain(self.client.xgroup_destroy(self.stream.keys[shard].events, GROUP)))
            self.model.lose_group(shard)
            self.check(shard)


def appendable(name: str, label: str) -> Appendable:
    return Appendable("shop", name, b"{}", label.encode())


def test_every_delivery_is_in_one_place_whatever_happens(redis_url: str) -> None:
    with asyncio.Runner() as runner:
        run_state_machine_as_test(
            lambda: Moves(redis_url, runner),  # type: ignore[arg-type] # it asks for a class, and calls it
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=40,
                derandomize=True,  # the same sequences on every machine: a failure here is a failure there
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
