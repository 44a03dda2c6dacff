"""What an entry on the stream turns out to be: a delivery, or a letter straight away.

The latter are another program's, another version's of ours, or stand for what somebody deleted.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

from dlq.letters import Death
from tidegate import jsontext
from tidegate.event import Attempt, Delivery, Event
from tidegate.wire import Entry, WireError, decode

_FOREIGN = uuid.UUID("8f0f3c52-6f5f-4a37-9a3c-6d1f0a7b2c11")
"""Namespace of the delivery ids of entries that bear none: the same entry, read twice, is one letter."""


@dataclass(frozen=True, slots=True)
class Read:
    """An entry and what it turned out to be: a delivery, or a letter straight away."""

    entry: Entry
    delivery: Delivery | None = None
    death: Death | None = None


def read(entry: Entry) -> Read:
    """Return what ``entry`` is."""
    try:
        return Read(entry, delivery=decode(entry))
    except WireError as error:
        return Read(entry, death=_letter(entry, str(error)))


def _letter(entry: Entry, error: str) -> Death:
    """Return the letter of an entry that another program, or another version of us, put on the stream."""
    named = dict(zip(entry.fields[::2], entry.fields[1::2], strict=False))
    if b"lost" in named:  # put there by our own scripts in place of what was deleted
        lost, queue = (named.get(key, b"?").decode("utf-8", "replace") for key in (b"lost", b"queue"))
        error = f"entry {lost} of the {queue} stream was deleted by another program: its payload is gone"
    payload = b"\n".join(entry.fields) if b"payload" not in named else named[b"payload"]
    source = jsontext.storable(named.get(b"source", b"").decode("utf-8", "replace"))[:200]
    at_ms = int(entry.entry_id.split(b"-")[0])
    name = f"{entry.shard}/{entry.entry_id.decode()}"  # stands for a provider_event_id
    event = Event(
        source=source or "unknown",
        provider="",
        provider_event_id=name,
        event_type="",
        occurred_at_ms=min(at_ms, 253_402_300_799_000),
        received_at_ms=min(at_ms, 253_402_300_799_000),
        key="",
        payload=payload,
        delivery_id=uuid.uuid5(_FOREIGN, name),
        headers={
            jsontext.storable(key.decode("utf-8", "replace")): jsontext.storable(value.decode("utf-8", "replace"))[:500]
            for key, value in named.items()
            if key != b"payload"
        },
    )
    delivery = replace(Delivery(event), history=(Attempt(at_ms, "malformed", error),))
    return Death(delivery, "malformed", jsontext.storable(error), entry.shard)
