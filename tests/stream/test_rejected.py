"""The record of refused requests: it has an end, and whatever is in it can be read."""

from __future__ import annotations

from dataclasses import replace

from tidegate.stream import Client, Rejected, RejectedLog

RECORD = Rejected(
    id="a",
    at_ms=1_789_000_000_123,
    source="crm",
    provider="svix",
    status=401,
    reason="stale",
    detail="signed 720 s ago",
    scheme="v1",
    clock_seconds=-720.5,
    bytes=12,
    content_type="application/json",
    address="::1",
    request_id="r",
    user_agent="Svix",
    suppressed=3,
)


async def test_a_record_comes_back_as_it_was(client: Client, prefix: str) -> None:
    log = RejectedLog(client, prefix=prefix)
    other = replace(RECORD, id="b", clock_seconds=None)
    await log.add([RECORD, other], 100)
    (first, read), (second, _) = found = await log.newest(10)
    assert (read, [record for _, record in found]) == (RECORD, [RECORD, other])
    assert await log.newest(1) == [(second, other)]
    assert await log.newest(10, before=second) == [(first, RECORD)]
    assert await log.after("0", count=10, block_ms=10) == found
    assert await log.after(first, count=10, block_ms=10) == [(second, other)]
    assert await log.after(second, count=10, block_ms=10) == []


async def test_however_many_are_refused_the_record_keeps_about_the_newest(client: Client, prefix: str) -> None:
    log = RejectedLog(client, prefix=prefix)
    for start in range(0, 3000, 500):
        await log.add([replace(RECORD, id=str(number)) for number in range(start, start + 500)], 200)
    kept = [record.id for _, record in await log.newest(5000)]
    assert 200 <= len(kept) <= 300
    assert kept == [str(number) for number in range(3000 - len(kept), 3000)]


async def test_an_entry_of_another_version_or_program_can_be_read(client: Client, prefix: str) -> None:
    log = RejectedLog(client, prefix=prefix)
    strange = {b"at_ms": b"soon", b"status": b"9" * 40, b"clock_seconds": b"nan", b"bytes": b"-1", b"source": b"\xff"}
    await client.xadd(f"{prefix}:rejected", {**strange, b"new": b"x"})  # type: ignore[dict-item]
    ((_, read),) = await log.newest(10)
    assert (read.at_ms, read.status, read.bytes, read.clock_seconds, read.source) == (0, 0, 0, None, "\ufffd")
