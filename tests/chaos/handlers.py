"""The engagement read model, and beside it effects that are not idempotent: one that happened twice is two rows.

Events of the chaos suite's own come from the source `crm`; ``data.times`` is how many attempts fail.

| type             | its handler                                          | ends as             |
|------------------|------------------------------------------------------|---------------------|
| chaos.plain      | records the effect                                   | applied             |
| chaos.retried    | asks for ``times`` retries first                     | applied             |
| chaos.failing    | raises ``times`` times first, after its effect       | applied             |
| chaos.rejected   | rejects                                              | letter `rejected`   |
| chaos.exhausted  | asks for a retry for ever                            | letter `exhausted`  |
| chaos.deadly     | ends its worker's process                            | letter `crash_loop` |
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from consumer import engagement
from tidegate import Batch, Event
from tidegate.handlers import Transaction
from tidegate.settings import EngagementSettings

SCHEMA = """
CREATE TABLE effects (source text NOT NULL, provider_event_id text NOT NULL); -- no key, on purpose
CREATE TABLE chaos_disk (is_full boolean NOT NULL);
INSERT INTO chaos_disk VALUES (false);
CREATE FUNCTION chaos_disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT is_full FROM chaos_disk) THEN
        RAISE EXCEPTION 'could not extend file "base/1/1": No space left on device' USING ERRCODE = 'disk_full';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_disk_full BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION chaos_disk_full();
CREATE TRIGGER chaos_disk_full BEFORE INSERT ON dead_letters FOR EACH STATEMENT EXECUTE FUNCTION chaos_disk_full();
"""
RETRY_SECONDS = 0.2
DEADLY_EXIT_CODE = 17

handlers = engagement.handlers(EngagementSettings())


@handlers.batch("lemlist", "emails*")
@handlers.batch("hubspot", "*.propertyChange")
@handlers.batch("hubspot", "workflow*")
@handlers.batch("crm", "chaos.plain")
@handlers.batch("crm", "chaos.retried")
@handlers.batch("crm", "chaos.rejected")
@handlers.batch("crm", "chaos.exhausted")
@handlers.batch("crm", "chaos.deadly")
async def record(batch: Batch, tx: Transaction) -> None:
    """Record the effect of each event that is not to fail."""
    done: list[Event] = []
    for event in batch:
        if event.event_type == "chaos.deadly":
            os._exit(DEADLY_EXIT_CODE)
        elif event.event_type == "chaos.rejected":
            batch.reject(event, "chaos wants it so")
        elif event.event_type == "chaos.exhausted" or (
            event.event_type == "chaos.retried" and event.attempt <= _times(event)
        ):
            batch.retry(event, after=RETRY_SECONDS)
        else:
            done.append(event)
    await _insert(done, tx)


@handlers.on("crm", "chaos.failing")
async def fail(event: Event, tx: Transaction) -> None:
    """Record the effect and then fail, so that an effect whose attempt was not rolled back shows as doubled."""
    await _insert([event], tx)
    if event.attempt <= _times(event):
        raise RuntimeError("chaos wants it so")


def _times(event: Event) -> int:
    return int(event.data["data"]["times"])


async def _insert(events: Sequence[Event], tx: Transaction) -> None:
    if events:
        await tx.execute(
            "INSERT INTO effects SELECT * FROM unnest(%s::text[], %s::text[])",
            [[event.source for event in events], [event.provider_event_id for event in events]],
        )
