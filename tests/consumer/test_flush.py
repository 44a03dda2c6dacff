"""Somebody empties Redis: what waited there is gone, and all else heals by itself, and says what happened."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consumer import measuring
from tests.consumer.fleet import REPOSITORY, Fleet
from tests.fixtures import Rig, event, until
from tidegate.embedded import RedisServer
from tidegate.postgres import Pool
from tidegate.stream import GROUP, Stream, connect


async def flush(rig: Rig) -> None:
    """Delete every key of the deployment, as FLUSHALL would; the server is shared."""
    client: Any = rig.stream.client
    keys = [key async for key in client.scan_iter(match=f"{rig.stream.keys[0].prefix}:*", count=1000)]
    await client.unlink(*keys)


async def measure(rig: Rig, times: int = 1) -> None:
    """Let so many workers look at once."""
    await asyncio.gather(*(rig.upkeep(rig.worker(f"w{n}")).measure() for n in range(times)))


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [line for line in lines if line["event"].startswith("Redis lost its data")]


async def test_it_is_said_once_in_the_fleet_with_what_is_lost(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    await rig.send(event("a"), event("b"))
    await rig.drain()
    await rig.send(*(event(f"lost-{n}") for n in range(5)))
    await measure(rig, 3)
    assert told(caplog) == [], "a deployment that is looked at for the first time has lost nothing"
    await flush(rig)
    await rig.send(event("c"))
    await measure(rig, 5)
    await measure(rig)
    (line,) = told(caplog)
    assert (line["level"], line["shards"], line["accepted"], line["waiting"]) == ("error", [0, 1], 7, 5)
    await rig.drain()
    found = await rig.audit()
    assert (found.unaccounted, found.balance.accepted, found.stored.events) == (0, 1, 3)
    (reset,) = found.resets
    assert (reset.shards, reset.waiting, found.as_dict()["resets"][0]["waiting"]) == ((0, 1), 5, 5)
    await measure(rig)
    await flush(rig)
    await measure(rig, 2)
    assert len(told(caplog)) == 2
    assert [loss.waiting for loss in (await rig.audit()).resets] == [5, 0]


async def test_the_audit_is_not_alarmed_before_a_worker_has_noticed(rig: Rig) -> None:
    await rig.send(event("a"))
    await rig.drain()
    await measure(rig)
    await flush(rig)
    found = await rig.audit()
    assert (found.unaccounted, [reset.at for reset in found.resets]) == (0, [None])
    await rig.send(event("b"))
    assert (await rig.audit()).unaccounted == 0


async def test_rows_that_postgres_loses_after_that_are_still_missed(rig: Rig) -> None:
    await rig.send(event("a"), event("b"))
    await rig.drain()
    await measure(rig)
    await flush(rig)
    await measure(rig)
    await rig.send(event("c"))
    await rig.drain()
    await rig.rows_none("DELETE FROM events WHERE provider_event_id = 'a'")
    assert (await rig.audit()).missing_events == 1
    await rig.send(event("d"))
    await rig.drain()
    await rig.rows_none(
        "INSERT INTO events SELECT source, 'a', event_type, occurred_at, received_at, applied_at, key, delivery_id, outcome, "
        "payload FROM events WHERE provider_event_id = 'b'"
    )


async def test_a_deployment_older_than_epochs_has_lost_nothing(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    await rig.send(event("a"), event("b"))
    await rig.drain()
    assert (await rig.audit()).resets == ()
    await measure(rig)
    assert told(caplog) == []
    assert (await rig.audit()).resets == ()
    wider = Stream(rig.stream.client, prefix=rig.stream.keys[0].prefix, shards=3)
    async with rig.pool.connection() as connection:
        await measuring.remember(connection, [await measuring.look(wider, shard) for shard in range(3)])
    assert told(caplog) == []


async def test_a_look_that_arrives_late_does_not_replace_a_later_one(rig: Rig) -> None:
    await measure(rig)
    early = [await rig.stream.audit(shard) for shard in (0, 1)]
    await rig.send(event("a"), event("b"), event("c"))
    await measure(rig)
    async with rig.pool.connection() as connection:
        await measuring.remember(connection, early)
    assert await rig.rows("SELECT sum((last_seen ->> 'events')::int)::int FROM redis_epochs") == [(3,)]


async def test_a_batch_in_hand_when_redis_is_emptied_is_applied_once(rig: Rig) -> None:
    await rig.send(event("a"))
    worker = rig.worker()
    await worker.intake.make_groups()
    await measure(rig)
    entries = await worker.intake.next(block=False)
    await flush(rig)
    await worker.work(entries)
    await measure(rig)
    await rig.send(event("a"), event("b"))  # the provider sends it again, and nobody remembers it
    await rig.drain(worker)
    assert await rig.rows("SELECT provider_event_id FROM events ORDER BY 1") == [("a",), ("b",)]
    assert (await rig.audit()).unaccounted == 0


async def test_a_table_that_is_refused_is_named_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    upkeep = rig.upkeep(rig.worker())
    await rig.rows_none("ALTER TABLE redis_epochs RENAME TO elsewhere")
    for _ in range(3):
        await upkeep.measure()
    assert caplog.text.count("nobody would learn that Redis lost its data") == 1
    await rig.rows_none("ALTER TABLE elsewhere RENAME TO redis_epochs")


async def last_look(rig: Rig) -> int:
    rows = await rig.rows("SELECT coalesce(sum((last_seen ->> 'accepted')::int), 0)::int FROM redis_epochs")
    return int(rows[0][0])


@pytest.mark.process
async def test_a_fleet_whose_redis_is_flushed_goes_on_and_the_audit_exits_with_0(
    tmp_path: Path,
    own_redis: Callable[..., RedisServer],
    pool: Pool,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    server = own_redis()
    client: Any = connect(server.url, timeout_seconds=5)
    rig = Rig(Stream(client, prefix="tg", shards=2), client, pool)
    with Fleet(tmp_path, redis_url=server.url, postgres_url=postgres_url, prefix="tg", size=2) as fleet:
        for n in range(200):
            await rig.send(event(f"before-{n}"))

        async def looked() -> bool:
            return await last_look(rig) == 200

        await until(looked, seconds=60)
        accepted: list[str] = []
        for n in range(600):
            if n == 300:
                await client.flushall()
                accepted.clear()
            await rig.send(event(f"after-{n}"))
            accepted.append(f"after-{n}")

        async def applied() -> bool:
            rows = await rig.rows("SELECT count(*) FROM events WHERE provider_event_id = ANY(%s)", accepted)
            noticed = await rig.rows("SELECT count(*) FROM redis_epochs")
            return bool(rows == [(300,)] and noticed == [(4,)])

        await until(applied, seconds=60)
        log = fleet.logs()
        assert all(worker.alive for worker in fleet.workers), "nobody need be restarted"
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert len([line for line in lines if line["event"].startswith("Redis lost its data")]) == 1
    for keys in rig.stream.keys:
        assert [group["name"] for group in await client.xinfo_groups(keys.events)] == [GROUP.encode()]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    words = [sys.executable, "-m", "tidegate", "-c", str(tmp_path / "tidegate.toml"), "audit"]
    for more in ([], ["--json"]):
        done = subprocess.run([*words, *more], env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        if more:
            printed = json.loads(done.stdout)
            assert (printed["unaccounted"], printed["accepted"], printed["applied"] + printed["ignored"]) == (
                0,
                300,
                300,
            )
            assert (len(printed["resets"]), printed["resets"][0]["shards"]) == (1, [0, 1])
        else:
            assert "Redis was emptied on 20" in " ".join(done.stdout.split())
    await client.aclose()
