"""The Redis keys, most of them of one shard. Every key Tidegate writes is named here.

| key                       | type              | holds                                                                     |
|---------------------------|-------------------|---------------------------------------------------------------------------|
| `tg:{n}:events`           | stream, `workers` | deliveries to apply                                                       |
| `tg:{n}:retry`            | stream            | deliveries waiting for another attempt                                    |
| `tg:{n}:due`              | sorted set        | ids on the retry stream, scored by due time in Unix milliseconds          |
| `tg:{n}:waiting:{parent}` | set, expiring     | ids on the retry stream of the orphans that wait for that parent          |
| `tg:{n}:held:{source}`    | set, expiring     | ids on the retry stream of deliveries that wait until their source is resumed |
| `tg:{n}:seen:{bucket}`    | set, expiring     | digests of the events accepted in this span of time: the early dedupe     |
| `tg:{n}:replayed:{bucket}`| set, expiring     | digests of the replays appended in this span of time                      |
| `tg:{n}:unboxed:{bucket}` | set, expiring     | digests of the inbox rows appended in this span of time                   |
| `tg:{n}:epoch`            | string            | `{id} {ms}`: which life of this shard's data this is, and since when      |
| `tg:{n}:ledger`           | hash              | `{count}:{source}` -> how many deliveries were accepted, applied, ...     |
| `tg:{n}:turn:{what}`      | string, expiring  | the worker whose turn it is to do what one in the fleet should do         |
| `tg:paused`               | hash              | source -> JSON of how it is paused                                        |
| `tg:rejected`             | stream, capped    | the last requests that the gate refused, redacted: a record, and no queue |
| `tg:secret-uses`          | hash              | `{what}:{source}:{mark}` -> when which secret of a source verified        |

The braces are a hash tag: all keys of one shard share a cluster slot, so one script may touch them together. Pauses,
what was refused and the uses of secrets belong to no shard, and no script touches two of them.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

GROUP = "workers"
NOBODY = "handed-back"
"""The consumer that holds what leaving workers gave up; it never reads, and is never retired."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Names for shard ``shard`` under ``prefix``."""

    prefix: str
    shard: int

    def _name(self, rest: str) -> str:
        return f"{self.prefix}:{{{self.shard}}}:{rest}"

    @property
    def events(self) -> str:
        return self._name("events")

    @property
    def retry(self) -> str:
        return self._name("retry")

    @property
    def due(self) -> str:
        return self._name("due")

    @property
    def ledger(self) -> str:
        return self._name("ledger")

    @property
    def waiting_prefix(self) -> str:
        return self._name("waiting:")

    def waiting(self, parent: str) -> str:
        return self.waiting_prefix + parent

    @property
    def held_prefix(self) -> str:
        return self._name("held:")

    def held(self, source: str) -> str:
        return self.held_prefix + source

    def replayed(self, bucket: int) -> str:
        return self._name(f"replayed:{bucket}")

    def unboxed(self, bucket: int) -> str:
        return self._name(f"unboxed:{bucket}")

    @property
    def epoch(self) -> str:
        return self._name("epoch")

    def seen(self, bucket: int) -> str:
        return self._name(f"seen:{bucket}")

    def turn(self, what: str) -> str:
        return self._name(f"turn:{what}")


def paused(prefix: str) -> str:
    """Return the key of the deployment's pauses."""
    return f"{prefix}:paused"


def rejected(prefix: str) -> str:
    """Return the key of the record of refused requests."""
    return f"{prefix}:rejected"


def secret_uses(prefix: str) -> str:
    """Return the key of the record of which secrets verified."""
    return f"{prefix}:secret-uses"


def shard_of(source: str, provider_event_id: str, shards: int) -> int:
    """Return the shard of an event: the same event always lands on the same one, or dedupe would miss it."""
    return zlib.crc32(f"{source}\n{provider_event_id}".encode()) % shards


def event_digest(source: str, provider_event_id: str) -> bytes:
    """Return the 16 bytes by which an event is remembered as seen, whatever the length of its id."""
    return hashlib.blake2b(f"{source}\n{provider_event_id}".encode(), digest_size=16).digest()


def replay_digest(delivery_id: bytes, replay: int) -> bytes:
    """Return the 16 bytes by which the ``replay``-th replay of a delivery is remembered."""
    return hashlib.blake2b(b"replay\n" + delivery_id + str(replay).encode(), digest_size=16, person=b"replay").digest()


def row_digest(source: str, provider_event_id: str, meta: bytes) -> bytes:
    """Return the 16 bytes by which an inbox row is remembered as appended: `meta` names the delivery, readable or not."""
    named = f"{source}\n{provider_event_id}\n".encode()
    return hashlib.blake2b(named + meta, digest_size=16, person=b"inbox").digest()
