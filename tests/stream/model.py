"""What the moves must do, said in plain Python: where each copy of a delivery is, who holds it, how it ended.

A copy is what one append, replay, stranger or marker put on a stream; its label is in its fields and never changes. The
server chooses the ids: the model learns them by `check`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.stream.snapshot import HELD, PARENTS, Labelled, Snapshot, marker_label
from tidegate.stream import NOBODY, Reentered, Settled, Settlement


@dataclass
class Copy:
    """One copy. ``place`` is `events`, `retry`, `ended` or `vanished`: gone without a trace, after two faults at once."""

    label: str
    shard: int
    place: str = "events"
    entry_id: bytes | None = None
    gone: bool = False
    """Another hand deleted its content; nobody has found that out yet."""
    consumer: str | None = None
    """Who it is pending for, if anybody."""
    deliveries: int = 0
    shown_idle: bool = False
    due: bool | None = None
    """On the retry stream: None without a due time, else whether that has come."""
    parent: str | None = None
    ends: list[str] = field(default_factory=list)

    @property
    def is_foreign(self) -> bool:
        return self.label.startswith("foreign")

    @property
    def is_marker(self) -> bool:
        return self.label.startswith("lost")


@dataclass
class Model:
    """Both shards. Methods are called as the moves are, and return what those must."""

    copies: dict[str, Copy] = field(default_factory=dict)
    ledger: Counter[tuple[int, str]] = field(default_factory=Counter)
    seen: set[tuple[int, str]] = field(default_factory=set)
    replayed: set[tuple[int, str, int]] = field(default_factory=set)
    unboxed: set[tuple[int, str, str]] = field(default_factory=set)
    stale: Counter[tuple[int, str]] = field(default_factory=Counter)
    """By shard and parent: ids in a waiting set whose entry was deleted."""
    groups: set[int] = field(default_factory=set)

    def on(self, shard: int, place: str, *, whole: bool = True) -> list[Copy]:
        """Return the copies at ``place``; with ``whole`` not those whose content is gone."""
        return [
            copy
            for copy in self.copies.values()
            if (copy.shard, copy.place) == (shard, place) and not (whole and copy.gone)
        ]

    def pending(self, shard: int, consumer: str | None = None) -> list[Copy]:
        """Return what is pending, or pending for ``consumer``, in the order of ids."""
        held = [copy for copy in self.on(shard, "events", whole=False) if copy.consumer is not None]
        found = [copy for copy in held if consumer in (None, copy.consumer)]
        return sorted(found, key=lambda copy: order(copy.entry_id))

    def unaccounted(self, shard: int) -> int:
        """Return what conservation misses: what was deleted and not found yet, less what strangers brought in."""
        here = [copy for copy in self.copies.values() if copy.shard == shard and copy.place != "ended"]
        return sum(copy.gone for copy in here) - sum(copy.is_foreign for copy in here)

    def add(self, label: str, shard: int, place: str = "events") -> Copy:
        assert label not in self.copies, f"{label} is there twice"
        self.copies[label] = copy = Copy(label, shard, place)
        return copy

    def append(self, shard: int, items: Iterable[tuple[str, str]]) -> list[bool]:
        """An item is (name of the event, label of the copy it would make)."""
        flags = []
        for name, label in items:
            new = (shard, name) not in self.seen
            self.seen.add((shard, name))
            flags.append(new)
            if new:
                self.add(label, shard)
                self.ledger[shard, "accepted"] += 1
        return flags

    def replay(self, shard: int, name: str, number: int, label: str) -> list[bool]:
        new = (shard, name, number) not in self.replayed
        self.replayed.add((shard, name, number))
        if new:
            self.add(label, shard)
            self.ledger[shard, "replayed"] += 1
        return [new]

    def unbox(self, shard: int, items: Iterable[tuple[str, str, str]]) -> list[bool]:
        """An item is (name of the event, its row in the inbox, label of the copy it would make)."""
        flags = []
        for name, row, label in items:
            again = (shard, name, row) in self.unboxed
            self.unboxed.add((shard, name, row))
            flags += [False] if again else self.append(shard, [(name, label)])
        return flags

    def unread(self, shard: int, count: int) -> int:
        """Return how many a read must bring: what nobody holds, settled things being deleted."""
        return min(count, sum(copy.consumer is None for copy in self.on(shard, "events")))

    def settle(self, shard: int, settlements: Sequence[Settlement]) -> Settled:
        count = 0
        gone: list[bytes] = []
        for item in settlements:
            copy = self.held(shard, item.entry_id)
            if copy is None:
                continue
            if item.outcome == "retry" and copy.gone and item.payload is None:
                gone.append(item.entry_id)
                continue
            count += 1
            copy.consumer, copy.entry_id, copy.gone = None, None, False
            if item.outcome == "retry":
                copy.place, copy.due = "retry", item.delay_ms == 0
                copy.parent = HELD if item.held else item.waiting_for
            else:
                self.end(copy, item.outcome)
        return Settled(count, gone)

    def held(self, shard: int, entry_id: bytes) -> Copy | None:
        """Return the pending copy of that id."""
        return next((copy for copy in self.pending(shard) if copy.entry_id == entry_id), None)

    def end(self, copy: Copy, outcome: str) -> None:
        copy.place = "ended"
        copy.ends.append(outcome)
        if outcome == "foreign":
            self.ledger[copy.shard, "foreign"] += 1
            outcome = "dead"
        self.ledger[copy.shard, outcome] += 1

    def mark(self, copy: Copy) -> None:
        """Its content is gone, somebody found out: a marker goes on in its place."""
        assert copy.gone
        assert copy.entry_id
        self.add(marker_label(copy.place, copy.entry_id), copy.shard)
        if copy.place == "retry" and copy.parent is not None:
            self.stale[copy.shard, copy.parent] += 1
        copy.place, copy.consumer = "ended", None
        copy.ends.append("marked")

    def claim(
        self, shard: int, consumer: str, ids: Iterable[bytes], *, idle: bool, one: bool, deliveries_max: int
    ) -> tuple[list[tuple[bytes, int]], int]:
        """Return the ids taken with their delivery counts, and the markers; ``one``: no byte is left after the first."""
        taken: list[tuple[bytes, int]] = []
        lost = 0
        for entry_id in dict.fromkeys(ids):
            copy = self.held(shard, entry_id)
            if copy is None or (idle and not copy.shown_idle):
                continue
            if one and taken:
                break
            if copy.gone:
                self.mark(copy)
                lost += 1
                continue
            copy.consumer, copy.shown_idle = consumer, False
            copy.deliveries += copy.deliveries < deliveries_max
            taken.append((entry_id, copy.deliveries))
        return taken, lost

    def hand_back(self, shard: int, consumer: str, ids: Iterable[bytes]) -> int:
        count = 0
        for copy in [copy for entry_id in ids if (copy := self.held(shard, entry_id))]:
            if copy.consumer == consumer and not copy.gone:
                copy.consumer, copy.deliveries, copy.shown_idle = NOBODY, max(copy.deliveries - 1, 0), True
                count += 1
        return count

    def beat(self, shard: int, consumer: str, ids: Iterable[bytes]) -> list[bytes]:
        lost = []
        for entry_id in ids:
            copy = self.held(shard, entry_id)
            if copy is None or copy.consumer != consumer:
                lost.append(entry_id)
            elif not copy.gone:
                copy.shown_idle = False
        return lost

    def on_trial(self, shard: int, consumer: str, entry_id: bytes, deliveries: int) -> bool:
        copy = self.held(shard, entry_id)
        if copy is None or copy.consumer != consumer:
            return False
        if not copy.gone:
            copy.deliveries, copy.shown_idle = deliveries, False
        return True

    def own(self, shard: int, consumer: str) -> tuple[list[tuple[bytes, int]], int]:
        mine = self.pending(shard, consumer)
        gone = [copy for copy in mine if copy.gone]
        for copy in gone:
            self.mark(copy)
        return [(copy.entry_id or b"", copy.deliveries) for copy in mine if not copy.gone], len(gone)

    def reenter(self, shard: int, answer: Reentered, left: Callable[[Copy], bool], *, limit: int, one: bool) -> None:
        """Check what `reenter` says, ``left`` telling which copies did leave: among those due the order is the server's."""
        due = [copy for copy in self.on(shard, "retry", whole=False) if copy.due]
        moved = [copy for copy in due if not copy.gone and left(copy)]
        lost = [copy for copy in due if copy.gone and left(copy)]
        assert (answer.moved, answer.lost) == (len(moved), len(lost))
        assert answer.more == (len(due) > len(moved) + len(lost))
        if one and moved:
            assert len(moved) == 1
            assert len(lost) < max(limit, 1)
        else:
            assert len(moved) + len(lost) == min(limit, len(due))
        for copy in lost:
            self.mark(copy)
        for copy in moved:
            copy.place, copy.entry_id, copy.due, copy.parent, copy.deliveries = "events", None, None, None, 0
        waiting = [copy for copy in self.on(shard, "retry", whole=False) if copy.due is not None]
        assert (answer.next_due_ms is None) == (not waiting)

    def release(self, parent: str) -> int:
        count = 0
        for shard in (0, 1):
            count += self.stale.pop((shard, parent), 0)
            for copy in self.on(shard, "retry", whole=False):
                if copy.parent == parent:
                    count += 1
                    copy.parent = None
                    copy.due = None if copy.due is None else True
        return count

    def mend(self, shard: int) -> int:
        timed = [copy for copy in self.on(shard, "retry", whole=False) if copy.due is not None]
        missing = [copy for copy in self.on(shard, "retry") if copy.due is None]
        if len(timed) == len(self.on(shard, "retry")):
            return 0  # as many as there should be: it looks no further
        for copy in missing:
            copy.due = True
        return len(missing)

    def lose_group(self, shard: int) -> None:
        self.groups.discard(shard)
        for copy in self.pending(shard):
            copy.consumer, copy.deliveries, copy.shown_idle = None, 0, False
            if copy.gone:
                copy.place = "vanished"

    def check(self, shard: int, found: Snapshot) -> None:
        """Fail unless Redis agrees about everything; learn the ids of what has just come."""
        self._adopt(self.on(shard, "events"), found.events)
        self._adopt(self.on(shard, "retry"), found.retry)
        pending = [(copy.entry_id, copy.consumer, copy.deliveries) for copy in self.pending(shard)]
        assert found.pending == pending
        timed = {copy.entry_id for copy in self.on(shard, "retry", whole=False) if copy.due is not None}
        assert set(found.due) == timed
        orphans = Counter(copy.parent for copy in self.on(shard, "retry", whole=False))
        assert found.waiting == {parent: orphans[parent] + self.stale[shard, parent] for parent in PARENTS}
        assert found.counts == {name: value for (at, name), value in self.ledger.items() if at == shard}
        assert found.unaccounted == self.unaccounted(shard)
        assert (found.state.pending, found.state.due) == (len(pending), len(timed))
        for copy in self.copies.values():
            assert len(copy.ends) == (copy.place == "ended"), f"{copy.label} ended {copy.ends}"

    @staticmethod
    def _adopt(copies: Sequence[Copy], found: Labelled) -> None:
        expected = {copy.label: copy for copy in copies}
        assert sorted(label for _, label in found) == sorted(expected)
        for entry_id, label in found:
            copy = expected[label]
            assert copy.entry_id in (None, entry_id), f"{label} was made anew"
            copy.entry_id = entry_id


def order(entry_id: bytes | None) -> tuple[int, ...]:
    """Return what ids are sorted by."""
    return tuple(int(part) for part in (entry_id or b"0-0").split(b"-"))
