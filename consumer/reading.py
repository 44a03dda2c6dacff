"""Entries on the stream that are no deliveries: another program's, or another version's of ours. Each becomes a letter."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from dlq.letters import Death
from tidegate import jsontext
from tidegate.event import Attempt, Delivery, Event
from tidegate.wire import Entry, Place, WireError, decode

_FOREIGN = uuid.UUID("8f0f3c52-6f5f-4a37-9a3c-6d1f0a7b2c11")
"""Namespace of the delivery ids of entries that bear none: the same entry, read twice, is one letter."""


def name_of(entry: Entry) -> str:
    """Return what such an entry is called in its letter, in place of a provider_event_id."""
    return f"{entry.shard}/{entry.entry_id.decode()}"


def read(entries: Sequence[Entry]) -> tuple[dict[Place, Delivery], list[Death]]:
    """Split entries into deliveries, by place, and letters for what is none."""
    deliveries: dict[Place, Delivery] = {}
    foreign: list[Death] = []
    for entry in entries:
        try:
            deliveries[entry.place] = decode(entry)
        except WireError as error:
            foreign.append(_letter(entry, str(error)))
    return deliveries, foreign


def _letter(entry: Entry, error: str) -> Death:
    """Return the letter of an entry that another program, or another version of us, put on the stream."""
    named = dict(zip(entry.fields[::2], entry.fields[1::2], strict=False))
    payload = b"\n".join(entry.fields) if b"payload" not in named else named[b"payload"]
    source = jsontext.storable(named.get(b"source", b"").decode("utf-8", "replace"))[:200]
    at_ms = int(entry.entry_id.split(b"-")[0])
    name = name_of(entry)
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
