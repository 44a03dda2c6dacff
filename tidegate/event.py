"""The event, and the delivery that carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from tidegate import jsontext


@dataclass(frozen=True)
class Event:
    """A fact a provider told us, as a handler sees it.

    Identity is ``(source, provider_event_id)``. ``payload`` holds the JSON of this one event, bytes as received.
    ``attempt`` is 1 on the first try. ``occurred_at_ms`` and ``received_at_ms`` are Unix milliseconds.
    """

    source: str
    provider: str
    provider_event_id: str
    event_type: str
    occurred_at_ms: int
    received_at_ms: int
    key: str
    payload: bytes
    delivery_id: UUID
    headers: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 1

    @cached_property
    def data(self) -> Any:
        """The parsed payload; raises tidegate.jsontext.NotJsonError when the bytes are not JSON."""
        return jsontext.loads(self.payload)

    @property
    def occurred_at(self) -> datetime:
        """When it happened at the provider (when we received it, where the provider does not say), in UTC."""
        return datetime.fromtimestamp(self.occurred_at_ms / 1000, UTC)

    @property
    def received_at(self) -> datetime:
        """When the gate accepted it, in UTC."""
        return datetime.fromtimestamp(self.received_at_ms / 1000, UTC)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One failed try, kept for whoever reads the letter. ``at_ms`` is Unix milliseconds."""

    at_ms: int
    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One accepted arrival of an event on its way: the event and what happened to it so far.

    ``replay`` counts how often it came back from the dead letters. ``malformed`` says why the gate could not read an
    event out of an authentic request. ``held_ms`` is how long it waited for its source to be resumed, which does not count as
    age; ``held_since_ms`` since when it does so now.
    """

    event: Event
    history: tuple[Attempt, ...] = ()
    replay: int = 0
    malformed: str | None = None
    held_ms: int = 0
    held_since_ms: int | None = None
