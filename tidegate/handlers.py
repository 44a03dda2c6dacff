"""What to do with an event: the functions a team registers, and the ways they may answer.

A handler runs in the transaction that records its event. Whatever it writes there takes effect once per event; what it
does elsewhere (an e-mail, an API call) may happen again when a transaction is repeated.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload
from uuid import UUID

import psycopg

from tidegate.event import Event
from tidegate.pattern import Pattern

Transaction = psycopg.AsyncConnection[Any]
EventHandler = Callable[[Event, Transaction], Awaitable[None]]
BatchHandler = Callable[["Batch", Transaction], Awaitable[None]]
ParentLookup = Callable[[Sequence[str], Transaction], Awaitable[Sequence[str]]]
Run = TypeVar("Run", bound=Callable[..., Awaitable[Any]])

_released: ContextVar[set[str] | None] = ContextVar("tidegate_released", default=None)


class Retry(Exception):  # noqa: N818 - a decision, not an error; handlers read `raise Retry(after=30)`
    """Not now. ``after``: seconds until the next attempt, else the schedule decides.

    ``waiting_for`` names the parent row that is missing, such as ``enrollment:42``: the event becomes due the moment some
    handler calls ``release`` with that name. An attempt is consumed either way.
    """

    def __init__(self, reason: str = "", *, after: float | None = None, waiting_for: str | None = None) -> None:
        if waiting_for is not None and not isinstance(waiting_for, str):
            raise TypeError(
                f"Retry(waiting_for={waiting_for!r}): the name of a parent is a str, such as 'enrollment:42'"
            )
        if after is not None and not 0 <= after <= 30 * 86_400:
            raise ValueError(f"Retry(after={after!r}): seconds from 0 to 30 days are possible")
        super().__init__(reason or (f"waiting for {waiting_for}" if waiting_for else "asked to be retried"))
        self.after = after
        self.waiting_for = waiting_for


class Reject(Exception):  # noqa: N818 - a decision, like Retry
    """Never. The event becomes a dead letter at once, with this text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class Ignore(Exception):  # noqa: N818 - a decision, like Retry
    """Of no interest after all: stored with outcome ``ignored``."""


Decision = Retry | Reject | Ignore


class Batch(Sequence[Event]):
    """The events of one call of a batch handler, oldest first, and what it decides for single ones.

    A batch handler must not have written anything for an event it decides about: its other writes are kept.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = tuple(events)
        self.decisions: dict[UUID, Decision] = {}

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        return self._events[index]

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def retry(
        self, event: Event, reason: str = "", *, after: float | None = None, waiting_for: str | None = None
    ) -> None:
        """Decide ``Retry`` for one event."""
        self.decisions[event.delivery_id] = Retry(reason, after=after, waiting_for=waiting_for)

    def reject(self, event: Event, reason: str) -> None:
        """Decide ``Reject`` for one event."""
        self.decisions[event.delivery_id] = Reject(reason)

    def ignore(self, event: Event) -> None:
        """Decide ``Ignore`` for one event."""
        self.decisions[event.delivery_id] = Ignore()


def release(parent: str) -> None:
    """Say, in a handler, that the row ``parent`` exists from this transaction on: what waits for it is due at commit."""
    if not isinstance(parent, str):
        raise TypeError(f"release({parent!r}): the name of a parent is a str, such as 'enrollment:42'")
    released = _released.get()
    if released is None:
        raise RuntimeError("tidegate.release() is called by a handler while it runs, and nowhere else")
    released.add(parent)


@dataclass(eq=False, slots=True)
class Registered:
    """One handler and what it wants. Exactly one of ``single`` and ``batch`` is set."""

    name: str
    single: EventHandler | None = None
    batch: BatchHandler | None = None
    patterns: list[Pattern] = field(default_factory=list)

    def wants(self, source: str, provider: str, event_type: str) -> bool:
        """Tell whether an event of this source (or provider) and type is this handler's."""
        return any(pattern.matches(source, provider, event_type) for pattern in self.patterns)


class Handlers:
    """The handlers of one application, run in the order they were registered.

    A function registered for several sources or types is one handler: a batch of it holds the events of all of them.
    """

    def __init__(self) -> None:
        self._registered: list[Registered] = []
        self.parents: dict[str, ParentLookup] = {}
        self._matches: dict[tuple[str, str, str], tuple[Registered, ...]] = {}

    def __len__(self) -> int:
        return len(self._registered)

    def on(self, source: str, event_type: str = "*") -> Callable[[Run], Run]:
        """Register ``async def f(event, tx)`` for a source or provider and a type; both take globs (``*``, ``?``, ``[]``)."""

        def register(function: Run) -> Run:
            self._add(function, source, event_type, batch=False)
            return function

        return register

    def batch(self, source: str, event_type: str = "*") -> Callable[[Run], Run]:
        """Register ``async def f(batch, tx)``: one call for all such events of a transaction. The fast way."""

        def register(function: Run) -> Run:
            self._add(function, source, event_type, batch=True)
            return function

        return register

    def parent(self, kind: str) -> Callable[[Run], Run]:
        """Register ``async def f(names, tx) -> names that exist`` for parents called ``kind:...``.

        It closes a race: a parent may be committed after its orphan looked and before the orphan was parked.
        """

        def register(function: Run) -> Run:
            self._check(function, 2)
            self.parents[kind] = function
            return function

        return register

    def match(self, source: str, provider: str, event_type: str) -> tuple[Registered, ...]:
        """Return the handlers of such an event, in order of registration; none means it is ``ignored``."""
        key = (source, provider, event_type)
        found = self._matches.get(key)
        if found is None:
            if len(self._matches) >= 10_000:  # types come from outside: a cache of them must have an end
                self._matches.clear()
            found = tuple(handler for handler in self._registered if handler.wants(*key))
            self._matches[key] = found
        return found

    def in_order(self, some: Iterable[Registered]) -> list[Registered]:
        """Return ``some`` handlers in the order they were registered: parents are written before what refers to them."""
        wanted = set(some)
        return [handler for handler in self._registered if handler in wanted]

    def _add(self, function: Callable[..., Awaitable[Any]], source: str, event_type: str, *, batch: bool) -> None:
        self._check(function, 2)
        pattern = Pattern.of(source, event_type)
        self._matches.clear()
        for handler in self._registered:
            if function is (handler.batch if batch else handler.single):
                handler.patterns.append(pattern)
                return
        name = f"{function.__module__}.{getattr(function, '__qualname__', repr(function))}"
        made = Registered(name, batch=function) if batch else Registered(name, single=function)
        made.patterns.append(pattern)
        self._registered.append(made)

    @staticmethod
    def _check(function: object, parameters: int) -> None:
        name = getattr(function, "__qualname__", repr(function))
        if not callable(function) or not inspect.iscoroutinefunction(function):
            raise TypeError(f"handler {name} must be `async def`: a blocking one would stop the whole worker")
        try:
            inspect.signature(function).bind(*range(parameters))
        except TypeError:
            raise TypeError(f"handler {name} must take two arguments: (event, tx) or (batch, tx)") from None


class collecting:  # noqa: N801 - reads as `with collecting() as released:`
    """Collect the parents released by the handlers that run inside."""

    def __enter__(self) -> set[str]:
        released: set[str] = set()
        self._token = _released.set(released)
        return released

    def __exit__(self, *_exc: object) -> None:
        _released.reset(self._token)
