"""Back to the stream: letters are replayed as the deliveries they were, past the early dedupe.

Order of steps, and what dying after each leaves:

1. Postgres: `open` -> `replaying`, replay_count + 1, committed.  Dying here: the letter says `replaying`; replaying it again
   (by id or with `--status replaying`) takes up the same replay.
2. Redis: the replay move.  Dying here, or losing the answer: the same, and the move knows this very replay.
3. A worker applies the event and marks the letter `resolved` in the same transaction; or it dies again and is `open`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from uuid import UUID

from aiolimiter import AsyncLimiter

from dlq import letters
from dlq.letters import Filter, Letter
from tidegate.postgres import Connection
from tidegate.stream import Appendable, Stream
from tidegate.wire import encode_meta

CHUNK = 50
"""Letters on their way at once: they may hold a MiB each."""


async def replay(
    stream: Stream,
    connection: Connection,
    ids: Sequence[UUID],
    *,
    rate: int = 200,
    done: Callable[[int], None] = lambda count: None,
) -> list[UUID]:
    """Replay letters that are open (or were left replaying), at most ``rate`` a second; return the ids of those that went.

    ``done`` is called with how many of ``ids`` each chunk dealt with. Raises redis-py's or psycopg's error when a server
    goes away; what went before stays, and the rest can be replayed by calling again.
    """
    limiter = AsyncLimiter(max(1, min(rate, CHUNK)), min(rate, CHUNK) / rate)
    gone: list[UUID] = []
    for at in range(0, len(ids), CHUNK):
        chunk = ids[at : at + CHUNK]
        begun = await letters.begin_replay(connection, chunk)
        by_shard: dict[int, list[Letter]] = {}
        for letter in begun:
            await limiter.acquire()
            shard = stream.shard_of(letter.source, letter.provider_event_id)
            by_shard.setdefault(shard, []).append(letter)
        for shard, some in by_shard.items():
            await stream.replay(shard, [_item(letter) for letter in some])
        gone += [letter.id for letter in begun]
        done(len(chunk))
    return gone


def _item(letter: Letter) -> tuple[Appendable, bytes, int]:
    delivery = letter.delivery()
    item = Appendable(letter.source, letter.provider_event_id, encode_meta(delivery), letter.payload)
    return item, letter.delivery_id.bytes, letter.replay_count


async def matching(connection: Connection, wanted: Filter, *, page: int = 1000) -> AsyncIterator[list[UUID]]:
    """Yield the ids of all letters ``wanted`` names, newest first, page by page: a page is never held by a transaction."""
    before = None
    while True:
        found = await letters.keys(connection, wanted, limit=page, before=before)
        if found:
            yield [letter_id for _, letter_id in found]
        if len(found) < page:
            return
        before = found[-1]
