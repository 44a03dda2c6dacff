"""One batch, one transaction: record the events, run the handlers, write the letters, commit.

Three things make this exact:

- The row in `events` is the lock on an event. It is inserted before anything else is looked at, and a letter is written
  only by a transaction that holds it: a worker that wakes after its entries were claimed cannot apply what has died
  meanwhile, nor bury what was applied.
- A row that exists with our own delivery id was written by us before the settle was lost: the same outcome again.
- What Postgres refuses for ever, and what a handler stumbles over, is found by halving the batch under savepoints: one
  event leaves, its neighbours commit.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import psycopg

from consumer import events as events_table
from consumer.handling import handler_errors
from consumer.outcome import Decided, Outcome, Schedule, failed, malformed
from dlq import letters
from tidegate.event import Delivery, Event
from tidegate.handlers import Batch, Handlers, Ignore, Registered, collecting
from tidegate.postgres import Connection, Kind, classify
from tidegate.telemetry import logs

log = logs.get(__name__)


class _UndoError(Exception):
    """An event failed after an earlier handler had written for it: everything is rolled back and repeated without it."""

    def __init__(self, failures: dict[UUID, Exception]) -> None:
        super().__init__()
        self.failures = failures


@dataclass(slots=True)
class Applied:
    """What a committed transaction decided, by delivery id, and the parents its handlers released."""

    decided: dict[UUID, Decided] = field(default_factory=dict)
    released: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Work:
    connection: Connection
    isolate: bool
    done: dict[UUID, Outcome] = field(default_factory=dict)
    already_dead: set[UUID] = field(default_factory=set)
    failures: dict[UUID, Exception] = field(default_factory=dict)


class Applier:
    """Applies batches with the handlers of one application."""

    def __init__(self, handlers: Handlers, schedule: Schedule) -> None:
        self.handlers = handlers
        self.schedule = schedule

    async def apply(
        self,
        connection: Connection,
        deliveries: Sequence[Delivery],
        *,
        foreign: Sequence[letters.Death] = (),
        shard_of: dict[UUID, int] | None = None,
        isolate: bool = False,
    ) -> Applied:
        """Apply ``deliveries`` in one transaction on ``connection`` and bury ``foreign`` in it.

        Raises only what makes repeating the whole batch right: errors that are transient or systemic. ``isolate`` checks
        deferred constraints event by event: for a batch that Postgres refused at COMMIT, where no savepoint helps.
        """
        work = _Work(connection, isolate)
        by_id = {delivery.event.delivery_id: delivery for delivery in deliveries}
        readable = sorted((item for item in by_id.values() if item.malformed is None), key=_identity)
        with collecting() as released:
            async with connection.transaction():
                await self._divide(work, readable)
                decided = self._decide(work, by_id)
                await self._bury(work, decided, foreign, shard_of or {})
                replayed = [
                    item.delivery.event.delivery_id
                    for item in decided.values()
                    if item.delivery.replay and item.outcome in _SETTLED_WELL
                ]
                if replayed:
                    await letters.resolve(connection, replayed)
            if connection.closed:
                # psycopg leaves a transaction of a dead connection in silence: a handler that swallowed the error must not
                # make us believe in a commit that never was.
                raise psycopg.OperationalError("the connection was lost before the commit")
        return Applied(decided, released)

    async def _divide(self, work: _Work, deliveries: Sequence[Delivery]) -> None:
        """Apply all together, or halve until each one that cannot be applied stands alone."""
        if not deliveries:
            return
        try:
            async with work.connection.transaction():
                part = _Work(work.connection, work.isolate)
                await self._together(part, deliveries)
                if work.isolate:
                    await work.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except _UndoError as undo:
            work.failures.update(undo.failures)
            await self._divide(work, [item for item in deliveries if _id(item) not in undo.failures])
        except Exception as error:
            if _ours(error, work.isolate):
                raise
            if len(deliveries) == 1:
                work.failures[_id(deliveries[0])] = error
                log.debug("one event failed", which=_name(deliveries[0].event), exc_info=error)
                return
            middle = len(deliveries) // 2
            await self._divide(work, deliveries[:middle])
            await self._divide(work, deliveries[middle:])
        else:
            work.done |= part.done
            work.already_dead |= part.already_dead
            work.failures |= part.failures

    async def _together(self, work: _Work, deliveries: Sequence[Delivery]) -> None:
        matches = {
            _id(item): self.handlers.match(item.event.source, item.event.provider, item.event.event_type)
            for item in deliveries
        }
        outcomes = [Outcome.APPLIED if matches[_id(item)] else Outcome.IGNORED for item in deliveries]
        inserted = await events_table.insert(work.connection, deliveries, outcomes)
        fresh = [item for item in deliveries if _id(item) in inserted]
        known = [item for item in deliveries if _id(item) not in inserted]
        if known:
            await self._recognise(work, known)
        if fresh:
            # After the insert, never before it: only now do we hold the events.
            work.already_dead = await letters.died(work.connection, fresh)
            fresh = [item for item in fresh if _id(item) not in work.already_dead]
        for item, outcome in zip(deliveries, outcomes, strict=True):
            if _id(item) in inserted and _id(item) not in work.already_dead:
                work.done[_id(item)] = outcome
        ignored = await self._run_handlers(work, fresh, matches)
        gone = work.already_dead | work.failures.keys()
        if gone:
            await events_table.remove(work.connection, [item.event for item in deliveries if _id(item) in gone])
        if ignored:
            await events_table.ignore(work.connection, [item.event for item in fresh if _id(item) in ignored])

    async def _recognise(self, work: _Work, known: Sequence[Delivery]) -> None:
        """Classify events that were there before: our own redelivery, or a duplicate."""
        rows = await events_table.existing(work.connection, [item.event for item in known])
        # Of a delivery that died, was replayed and applied, the settle of the death may still be due.
        dead = await letters.died(work.connection, known)
        for item in known:
            if _id(item) in dead:
                work.done[_id(item)] = Outcome.DEAD
                continue
            row = rows.get(_identity(item))
            own = row is not None and row.delivery_id == _id(item)
            work.done[_id(item)] = Outcome(row.outcome) if row is not None and own else Outcome.DUPLICATE

    async def _run_handlers(
        self, work: _Work, fresh: Sequence[Delivery], matches: dict[UUID, tuple[Registered, ...]]
    ) -> set[UUID]:
        """Run every handler over its events, oldest first; return the ids that a handler ignores."""
        wanted: dict[Registered, list[Event]] = {}
        for item in sorted(fresh, key=lambda item: item.event.occurred_at_ms):
            for handler in matches[_id(item)]:
                wanted.setdefault(handler, []).append(item.event)
        written: set[UUID] = set()
        ignored: set[UUID] = set()
        for handler in self.handlers.in_order(wanted):
            todo = [event for event in wanted[handler] if event.delivery_id not in work.failures]
            if not todo:
                continue
            failures = await self._run(work.connection, handler, todo, work.isolate)
            for event_id in [event_id for event_id, error in failures.items() if isinstance(error, Ignore)]:
                del failures[event_id]
                if len(matches[event_id]) == 1:
                    ignored.add(event_id)
                    work.done[event_id] = Outcome.IGNORED
            if failures.keys() & written:
                raise _UndoError(failures)
            for event_id in failures:
                work.done.pop(event_id, None)
            work.failures |= failures
            written |= {event.delivery_id for event in todo}
        return ignored

    @staticmethod
    async def _run(
        connection: Connection, handler: Registered, todo: Sequence[Event], isolate: bool
    ) -> dict[UUID, Exception]:
        if handler.batch is not None:
            batch = Batch(todo)
            async with handler_errors(connection):
                await handler.batch(batch, connection)
            return dict(batch.decisions)
        failures: dict[UUID, Exception] = {}
        if handler.single is None:
            return failures
        for event in todo:
            try:
                async with connection.transaction(), handler_errors(connection):
                    await handler.single(event, connection)
            except Exception as error:
                if _ours(error, isolate):
                    raise
                failures[event.delivery_id] = error
        return failures

    def _decide(self, work: _Work, by_id: dict[UUID, Delivery]) -> dict[UUID, Decided]:
        now_ms = time.time_ns() // 1_000_000
        decided: dict[UUID, Decided] = {}
        for event_id, delivery in by_id.items():
            if delivery.malformed is not None:
                decided[event_id] = malformed(delivery, now_ms)
            elif event_id in work.already_dead:
                decided[event_id] = Decided(Outcome.DEAD, delivery, already=True)
            elif event_id in work.failures:
                error = work.failures[event_id]
                decided[event_id] = failed(delivery, error, self.schedule, now_ms=now_ms, random=random.random)
            else:
                outcome = work.done[event_id]
                decided[event_id] = Decided(outcome, delivery, already=outcome is Outcome.DEAD)
        return decided

    async def _bury(
        self,
        work: _Work,
        decided: dict[UUID, Decided],
        foreign: Sequence[letters.Death],
        shard_of: dict[UUID, int],
    ) -> None:
        dying = [item for item in decided.values() if item.outcome is Outcome.DEAD and not item.already]
        readable = sorted((item.delivery for item in dying if item.delivery.malformed is None), key=_identity)
        if readable:
            held = await self._hold(work.connection, readable)
            decided.update(held)
        deaths = [
            letters.Death(item.delivery, item.reason, item.error, shard_of.get(_id(item.delivery), 0))
            for item in dying
            if decided[_id(item.delivery)].outcome is Outcome.DEAD
        ]
        if deaths or foreign:
            await letters.bury(work.connection, [*deaths, *foreign])

    async def _hold(self, connection: Connection, dying: Sequence[Delivery]) -> dict[UUID, Decided]:
        """Take the rows of events about to die; return those another transaction settled first."""
        try:
            async with connection.transaction():
                outcomes = [Outcome.IGNORED] * len(dying)
                held = await events_table.insert(connection, dying, outcomes, without_payload=True)
        except Exception as error:
            if classify(error) is not Kind.PERMANENT:
                raise
            if len(dying) == 1:
                return {}  # no transaction can insert this row, so none can have applied the event
            middle = len(dying) // 2
            return await self._hold(connection, dying[:middle]) | await self._hold(connection, dying[middle:])
        lost = [item for item in dying if _id(item) not in held]
        mine = [item.event for item in dying if _id(item) in held]
        if mine:
            await events_table.remove(connection, mine)
        dead = await letters.died(connection, dying)
        overtaken = {_id(item): Decided(Outcome.DEAD, item, already=True) for item in dying if _id(item) in dead}
        if lost:
            work = _Work(connection, isolate=False)
            await self._recognise(work, lost)
            overtaken |= {_id(item): Decided(work.done[_id(item)], item) for item in lost}
        return overtaken


def _ours(error: Exception, isolate: bool) -> bool:
    """Tell whether to repeat the batch. A statement that timed out again and again is the event's doing, not an outage."""
    if isolate and getattr(error, "sqlstate", None) == "57014":
        return False
    return classify(error) in (Kind.TRANSIENT, Kind.SYSTEMIC)


_SETTLED_WELL = (Outcome.APPLIED, Outcome.IGNORED, Outcome.DUPLICATE)


def _id(delivery: Delivery) -> UUID:
    return delivery.event.delivery_id


def _identity(delivery: Delivery) -> tuple[str, str]:
    return delivery.event.source, delivery.event.provider_event_id


def _name(event: Event) -> str:
    return f"{event.source}/{event.provider_event_id}"


def parents_of(decided: Iterable[Decided]) -> set[str]:
    """Return the parents that orphans among ``decided`` wait for."""
    return {item.waiting_for for item in decided if item.waiting_for is not None}
