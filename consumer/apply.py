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

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import psycopg

from consumer import events as events_table
from consumer.burying import bury
from consumer.handling import HandlerTimeoutError, OvertimeError, StatementTimeoutError, handler_errors
from consumer.outcome import Decided, Outcome, dead, failed
from consumer.part import Part
from consumer.policy import Policy
from consumer.reading import Read
from consumer.recognise import recognise
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


@dataclass(frozen=True, slots=True)
class Applied:
    """What a committed transaction decided, by delivery id, and the parents its handlers released.

    Or, without any transaction, that all of it waits, for the sources ``held``.
    """

    decided: dict[UUID, Decided] = field(default_factory=dict)
    released: set[str] = field(default_factory=set)
    held: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Limits:
    """Of one transaction. ``until`` is when its handlers must be done, in the event loop's time."""

    isolate: bool
    lone: bool
    until: float
    event_seconds: float

    def left_seconds(self) -> float:
        """Return what is left of the handlers' time; when nothing is: OvertimeError, or HandlerTimeoutError for a lone event."""
        left = self.until - asyncio.get_running_loop().time()
        if left <= 0:
            raise HandlerTimeoutError(self.event_seconds) if self.lone else OvertimeError
        return min(left, self.event_seconds) if self.lone else left


@dataclass(slots=True)
class _Work:
    connection: Connection
    limits: _Limits
    done: dict[UUID, Outcome] = field(default_factory=dict)
    already_dead: set[UUID] = field(default_factory=set)
    failures: dict[UUID, Exception] = field(default_factory=dict)


class Applier:
    """Applies parts with the handlers of one application. ``event_seconds`` is how long one may take for one event."""

    def __init__(self, handlers: Handlers, policy: Policy, *, event_seconds: float = 20.0) -> None:
        self.handlers = handlers
        self.policy = policy
        self.event_seconds = event_seconds

    async def apply(self, connection: Connection, part: Part, *, isolate: bool = False) -> Applied:
        """Apply ``part`` in one transaction on ``connection``.

        Raises OvertimeError when its handlers are too slow together, StatementTimeoutError, and else only what makes
        repeating it right: errors that are transient or systemic. ``isolate`` checks deferred constraints event by event: for
        a part that Postgres refused at COMMIT, where no savepoint helps.
        """
        reads = {item.delivery.event.delivery_id: item for item in part.read if item.delivery is not None}
        until = asyncio.get_running_loop().time() + part.batch_seconds
        work = _Work(connection, _Limits(isolate, part.lone, until, self.event_seconds))
        if part.verdict is not None:
            work.failures = dict.fromkeys(reads, part.verdict)
        to_try = (
            item.delivery
            for event_id, item in reads.items()
            if item.delivery is not None
            and item.delivery.malformed is None
            and event_id not in work.failures
            and part.condemned(item) is None
        )
        with collecting() as released:
            async with connection.transaction():
                await self._divide(work, sorted(to_try, key=_identity))
                decided = self._decide(work, reads, part)
                await bury(connection, decided, reads, part.strangers)
                replayed = [
                    item.delivery.event.delivery_id
                    for item in decided.values()
                    if item.delivery.replay and item.outcome in _SETTLED_WELL
                ]
                if replayed:
                    await letters.resolve(connection, replayed)
            if connection.is_lost:
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
                part = _Work(work.connection, work.limits)
                await self._together(part, deliveries)
                if work.limits.isolate:
                    await work.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except _UndoError as undo:
            work.failures.update(undo.failures)
            await self._divide(work, [item for item in deliveries if _id(item) not in undo.failures])
        except Exception as error:
            if _ours(error):
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
            work.done |= await recognise(work.connection, known)
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
            failures = await self._run(work, handler, todo)
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
    async def _run(work: _Work, handler: Registered, todo: Sequence[Event]) -> dict[UUID, Exception]:
        connection, limits = work.connection, work.limits
        if handler.batch is not None:
            batch = Batch(todo)
            try:
                async with handler_errors(connection, limits.left_seconds()):
                    await handler.batch(batch, connection)
            except HandlerTimeoutError:
                if limits.lone:
                    raise
                raise OvertimeError from None
            return dict(batch.decisions)
        failures: dict[UUID, Exception] = {}
        if handler.single is None:
            return failures
        for event in todo:
            left = limits.left_seconds()
            # Not what is left of the whole for one of many: it would pay for those before it.
            seconds = left if limits.lone else limits.event_seconds
            try:
                async with connection.transaction(), handler_errors(connection, seconds):
                    await handler.single(event, connection)
            except Exception as error:
                if _ours(error):
                    raise
                failures[event.delivery_id] = error
        return failures

    def _decide(self, work: _Work, reads: dict[UUID, Read], part: Part) -> dict[UUID, Decided]:
        now_ms = time.time_ns() // 1_000_000
        decided: dict[UUID, Decided] = {}
        for event_id, item in reads.items():
            delivery = item.delivery
            assert delivery is not None
            event = delivery.event
            if delivery.malformed is not None:
                decided[event_id] = dead(delivery, "malformed", delivery.malformed, now_ms)
            elif (why := part.condemned(item)) is not None:
                decided[event_id] = dead(delivery, "crash_loop", why, now_ms)
            elif event_id in work.already_dead:
                decided[event_id] = Decided(Outcome.DEAD, delivery, already=True)
            elif event_id in work.failures:
                schedule = self.policy.schedule_for(event.source, event.provider, event.event_type)
                error = work.failures[event_id]
                decided[event_id] = failed(delivery, error, schedule, now_ms=now_ms, random=random.random)
            else:
                outcome = work.done[event_id]
                decided[event_id] = Decided(outcome, delivery, already=outcome is Outcome.DEAD)
        return decided


def _ours(error: Exception) -> bool:
    """Tell whether the whole part is to be repeated, or halved in transactions of its own, and not this event to fail."""
    if isinstance(error, OvertimeError | StatementTimeoutError):
        return True
    return classify(error) in (Kind.TRANSIENT, Kind.SYSTEMIC)


_SETTLED_WELL = (Outcome.APPLIED, Outcome.IGNORED, Outcome.DUPLICATE)


def _id(delivery: Delivery) -> UUID:
    return delivery.event.delivery_id


def _identity(delivery: Delivery) -> tuple[str, str]:
    return delivery.event.source, delivery.event.provider_event_id


def _name(event: Event) -> str:
    return f"{event.source}/{event.provider_event_id}"
