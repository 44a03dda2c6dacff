"""The form of a delivery on a stream, version 1.

| field     | holds                                                                                     |
|-----------|-------------------------------------------------------------------------------------------|
| `v`       | version of this form: `1`                                                                 |
| `source`  | the configured source, UTF-8                                                              |
| `id`      | provider_event_id, UTF-8                                                                  |
| `meta`    | JSON object: provider, type, delivery, occurred_ms, received_ms and, where they differ from |
|           | the default, key, headers, attempt (1), history ([[at_ms, reason, error]]), replay (0), malformed, |
|           | held_ms (0), held_since_ms                                                                |
| `payload` | the bytes as received                                                                     |

Everything small and changing is in `meta`, so that a retry rewrites one field and the payload never travels twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tidegate import jsontext
from tidegate.event import Attempt, Delivery, Event

VERSION = b"1"
TEXT_CHARS_MAX = 500
"""Of each text that identifies or describes an event; an index row of Postgres holds 2,700 bytes."""
_YEAR_10000_MS = 253_402_300_800_000
_INT4 = 2**31
FIELDS = (b"v", b"source", b"id", b"meta", b"payload")


class WireError(ValueError):
    """An entry that is not a delivery in this form; the text says what is wrong with it."""


Place = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """One stream entry as read: its shard, its id (``b"ms-seq"``) and its fields, name and value alternating.

    ``deliveries`` is how often the server has delivered it, as far as known.
    """

    shard: int
    entry_id: bytes
    fields: Sequence[bytes]
    deliveries: int = 1

    @property
    def place(self) -> Place:
        """What tells this entry from all others: ids repeat from shard to shard."""
        return self.shard, self.entry_id

    @property
    def bytes_count(self) -> int:
        """Bytes of its fields, names and values."""
        return sum(map(len, self.fields))


def encode_meta(delivery: Delivery) -> bytes:
    """Return the `meta` field of ``delivery``."""
    event = delivery.event
    meta: dict[str, Any] = {
        "provider": event.provider,
        "type": event.event_type,
        "delivery": event.delivery_id.hex,
        "occurred_ms": event.occurred_at_ms,
        "received_ms": event.received_at_ms,
    }
    if event.key:
        meta["key"] = event.key
    if event.headers:
        meta["headers"] = dict(event.headers)
    if event.attempt != 1:
        meta["attempt"] = event.attempt
    if delivery.history:
        meta["history"] = [[past.at_ms, past.reason, past.error] for past in delivery.history]
    if delivery.replay:
        meta["replay"] = delivery.replay
    if delivery.malformed is not None:
        meta["malformed"] = delivery.malformed
    if delivery.held_ms:
        meta["held_ms"] = delivery.held_ms
    if delivery.held_since_ms is not None:
        meta["held_since_ms"] = delivery.held_since_ms
    return json.dumps(meta, separators=(",", ":")).encode()


def decode(entry: Entry) -> Delivery:
    """Return the delivery in ``entry``; raise WireError when another program, or another version, wrote it."""
    fields = entry.fields
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    if named.get(b"v") != VERSION:
        raise WireError(f"wire version {named.get(b'v', b'absent')[:20]!r} is not {VERSION.decode()}")
    missing = [name.decode() for name in FIELDS if name not in named]
    if missing:
        raise WireError(f"fields missing: {', '.join(missing)}")
    return parse(named[b"source"], named[b"id"], named[b"meta"], named[b"payload"])


def parse(source: bytes, provider_event_id: bytes, meta: bytes, payload: bytes) -> Delivery:
    """Return the delivery made of the four fields; raise WireError when they do not hold one."""
    try:
        held = json.loads(meta)
        event = Event(
            source=source.decode(),
            provider=str(held["provider"]),
            provider_event_id=provider_event_id.decode(),
            event_type=str(held["type"]),
            occurred_at_ms=int(held["occurred_ms"]),
            received_at_ms=int(held["received_ms"]),
            key=str(held.get("key", "")),
            payload=payload,
            delivery_id=UUID(held["delivery"]),
            headers={str(name): str(value) for name, value in (held.get("headers") or {}).items()},
            attempt=int(held.get("attempt", 1)),
        )
        history = tuple(Attempt(int(at), str(reason), str(error)) for at, reason, error in held.get("history", ()))
        malformed, since = held.get("malformed"), held.get("held_since_ms")
        delivery = Delivery(
            event,
            history,
            int(held.get("replay", 0)),
            None if malformed is None else str(malformed),
            int(held.get("held_ms", 0)),
            None if since is None else int(since),
        )
    except (ValueError, ArithmeticError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WireError(f"unreadable: {type(error).__name__}: {str(error)[:200]}") from None
    _check(delivery)
    return delivery


def _check(delivery: Delivery) -> None:
    """Raise WireError for what no row could hold, not even that of a letter: it would stop its batch for ever."""
    event = delivery.event
    for name, text in (
        ("source", event.source),
        ("provider", event.provider),
        ("id", event.provider_event_id),
        ("type", event.event_type),
        ("key", event.key),
    ):
        if len(text) > TEXT_CHARS_MAX or not jsontext.is_storable(text):
            raise WireError(f"{name} is longer than {TEXT_CHARS_MAX} characters, or not storable text")
    if not event.source or not event.provider_event_id:
        raise WireError("source or id is empty")
    if not 0 <= event.occurred_at_ms < _YEAR_10000_MS or not 0 <= event.received_at_ms < _YEAR_10000_MS:
        raise WireError("occurred_ms or received_ms is no time before the year 10000")
    if not 0 < event.attempt < _INT4 or not 0 <= delivery.replay < _INT4:
        raise WireError("attempt or replay is out of range")
