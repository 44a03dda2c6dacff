"""Proofs: each test states what should hold; it fails today."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import Any

import psycopg
import pytest
import redis.exceptions

from consumer import settling
from consumer.breaker import State
from tests.consumer.scene import A, R, X, happened, sweep
from tests.fixtures import Rig, event, until
from tidegate import Event, Retry, postgres, release
from tidegate.settings import PostgresSettings
from tidegate.stream import Stream, connect


async def applied(rig: Rig, count: int, seconds: float = 6.0) -> None:
    async def done() -> bool:
        states = [await rig.stream.audit(shard) for shard in range(2)]
        return sum(s.ledger.get(("applied", "shop"), 0) for s in states) >= count

    await until(done, seconds=seconds)


async def end(worker: Any, running: Any) -> None:
    worker.stop()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# 1
async def test_a_parent_lookup_that_hangs_does_not_hold_its_lane(rig: Rig, monkeypatch: Any) -> None:
    monkeypatch.setattr(settling, "LOOKUP_SECONDS", 0.2)

    async def handler(item: Event, tx: Any) -> None:
        if item.provider_event_id == "orphan":
            raise Retry(waiting_for="p:1", after=600)

    async def lookup(names: Any, tx: Any) -> Any:
        await asyncio.Event().wait()

    rig.handlers.on("shop")(handler)
    rig.handlers.parent("p")(lookup)
    worker = rig.worker(concurrency=1, event_seconds=0.2, batch_seconds=0.3)
    await worker.intake.make_groups()
    running = asyncio.create_task(worker.run())
    try:
        await rig.send(event("orphan"))

        async def parked() -> bool:
            return sum([(await rig.stream.audit(s)).retry for s in range(2)]) == 1

        await until(parked)
        await rig.send(event("a"))
        await applied(rig, 1)
    finally:
        await end(worker, running)


# 2
async def test_a_redis_that_refuses_writes_is_not_hammered(own_redis: Any, pool: Any) -> None:
    server = own_redis()
    client, reader = connect(server.url, timeout_seconds=2), connect(server.url, timeout_seconds=2, block_seconds=1)
    rig = Rig(Stream(client, prefix="zz", shards=2), reader, pool)
    calls = 0

    async def handler(item: Event, tx: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:  # e.g. MISCONF after a full disk; any refusal of writes will do
            await client.config_set("min-replicas-to-write", 1)
        raise Retry(after=600)

    rig.handlers.on("shop")(handler)
    worker = rig.worker(concurrency=1)
    await worker.intake.make_groups()
    await rig.send(event("a"))
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(4)
    before, cpu = calls, time.process_time()
    await asyncio.sleep(3)
    print("TRANSACTIONS in 3 s:", calls - before, "cpu", time.process_time() - cpu, "redis.since", worker.redis.since)
    await end(worker, running)
    await client.aclose()
    await reader.aclose()
    assert calls - before < 30


# 3a
async def on_trial_entry(rig: Rig, deliveries: int = 2) -> Any:
    first = rig.worker("w1")
    await first.intake.make_groups()
    await rig.send(event("suspect"))
    await first.intake.next(block=False)
    shard = rig.stream.shard_of("shop", "suspect")
    (stuck,) = await rig.stream.stuck(shard, idle_ms=0, count=10)
    assert await rig.stream.on_trial(shard, "w1", stuck.entry_id, deliveries=deliveries)
    return shard, stuck


async def test_a_suspect_whose_settle_failed_is_not_condemned(rig: Rig) -> None:
    async def asks(item: Event, tx: Any) -> None:
        if item.attempt == 1:
            raise Retry(after=0)

    rig.handlers.on("shop")(asks)
    await on_trial_entry(rig)
    worker = rig.worker("w2")
    assert await sweep(rig, worker) == 1
    settle = rig.stream.settle

    async def cut(*_a: Any, **_k: Any) -> Any:
        rig.stream.settle = settle  # type: ignore[method-assign]
        raise redis.exceptions.ConnectionError("cut")

    rig.stream.settle = cut  # type: ignore[method-assign]
    await worker.run_once()
    outcomes = await rig.drain(worker)
    assert X not in outcomes, await rig.rows("SELECT reason, error FROM dead_letters")


# 3b
async def test_a_suspect_whose_trial_could_not_be_noted_is_tried(rig: Rig) -> None:
    seen: list[str] = []

    async def fine(item: Event, tx: Any) -> None:
        seen.append(item.provider_event_id)

    rig.handlers.on("shop")(fine)
    await on_trial_entry(rig)
    worker = rig.worker("w2")
    assert await sweep(rig, worker) == 1
    on_trial = rig.stream.on_trial

    async def lost(*a: Any, **k: Any) -> Any:
        rig.stream.on_trial = on_trial  # type: ignore[method-assign]
        await on_trial(*a, **k)
        raise redis.exceptions.TimeoutError("the answer was lost")

    rig.stream.on_trial = lost  # type: ignore[method-assign]
    await worker.run_once()
    outcomes = await rig.drain(worker)
    assert outcomes == {A: 1}, (seen, await rig.rows("SELECT reason, error FROM dead_letters"))


# 4
async def test_a_suspect_that_waits_for_the_breaker_is_not_on_trial_yet(rig: Rig) -> None:
    seen: list[str] = []

    async def fine(item: Event, tx: Any) -> None:
        seen.append(item.provider_event_id)

    rig.handlers.on("shop")(fine)
    await on_trial_entry(rig)
    worker = rig.worker("w2")
    assert await sweep(rig, worker) == 1
    for _ in range(3):
        worker.committer.breaker.failed(psycopg.OperationalError("down"))
    worker.committer.breaker._probe_at += 3600
    (entry,) = await worker.intake.next(block=False)
    lane = asyncio.create_task(worker.work([entry]))
    await asyncio.sleep(0.5)
    lane.cancel()  # SIGKILL: nobody hands back
    await asyncio.gather(lane, return_exceptions=True)
    third = rig.worker("w3")
    assert await sweep(rig, third) == 1
    outcomes = await rig.drain(third)
    assert outcomes == {A: 1}, (seen, await rig.rows("SELECT reason, error FROM dead_letters"))


# 5
async def test_an_unsettled_batch_is_read_again_although_entries_are_prefetched(rig: Rig) -> None:
    await rig.send(*(event(f"e{n}") for n in range(60)))
    worker = rig.worker(batch=1, prefetch=5)
    await worker.intake.make_groups()
    (first,) = await worker.intake.next(block=False)
    worker.intake.done([first], settled=False)
    for turn in range(20):
        (entry,) = await worker.intake.next(block=False)
        if entry.place == first.place:
            return
        worker.intake.done([entry], settled=True)
    pytest.fail("20 batches later it was not read again; and not being held, its lease is not renewed")


# 6
async def test_a_postgres_too_slow_to_insert_costs_no_attempt(rig: Rig, postgres_url: str) -> None:
    async def fine(item: Event, tx: Any) -> None:
        attempts.append(item.attempt)

    attempts: list[int] = []
    rig.handlers.on("shop")(fine)
    await rig.rows_none(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(5); RETURN NEW; END $$"
    )
    await rig.rows_none("CREATE TRIGGER slow BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION slow()")
    settings = PostgresSettings(statement_timeout_ms=100)
    async with postgres.pool(postgres_url, settings, "test") as pool:
        slow = Rig(rig.stream, rig.reader, pool, rig.handlers)
        worker = slow.worker(concurrency=1)
        await worker.intake.make_groups()
        running = asyncio.create_task(worker.run())
        await rig.send(event("innocent"))
        try:
            async def blamed() -> bool:
                return bool(sum([(await rig.stream.audit(s)).retry for s in range(2)]))

            with pytest.raises(AssertionError, match="still not true"):
                await until(blamed, seconds=8)
            print("breaker", worker.committer.breaker.state)
        finally:
            await end(worker, running)


# 7
async def test_an_event_with_several_slow_handlers_does_not_stop_the_worker(rig: Rig) -> None:
    calls = 0

    def handler(n: int) -> Any:
        async def slow(item: Event, tx: Any) -> None:
            nonlocal calls
            calls += 1
            if item.provider_event_id == "slow":
                await asyncio.sleep(0.4)
        slow.__name__ = f"slow{n}"
        return slow

    for n in range(4):
        rig.handlers.on("shop")(handler(n))
    rig.transaction_seconds = 1.2
    worker = rig.worker(concurrency=1, event_seconds=0.5, batch_seconds=0.6)
    await worker.intake.make_groups()
    await rig.send(event("slow"))
    running = asyncio.create_task(worker.run())
    opened = False
    try:
        for _ in range(150):
            await asyncio.sleep(0.1)
            opened |= worker.committer.breaker.state is not State.CLOSED
            if opened:
                break
        states = [await rig.stream.audit(s) for s in range(2)]
        assert not opened, (worker.committer.breaker.why, calls, [s.ledger for s in states])
    finally:
        await end(worker, running)


# 8
async def test_a_letter_that_cannot_be_written_does_not_end_the_worker(rig: Rig) -> None:
    async def rejects(item: Event, tx: Any) -> None:
        if item.provider_event_id == "bad":
            from tidegate import Reject

            raise Reject("no")

    rig.handlers.on("shop")(rejects)
    await rig.rows_none("ALTER TABLE dead_letters ADD CHECK (provider_event_id <> 'bad')")
    worker = rig.worker(concurrency=2)
    await worker.intake.make_groups()
    await rig.send(event("bad"))
    running = asyncio.create_task(worker.run())
    try:
        await rig.send(event("a"))
        await asyncio.wait({running}, timeout=4)
        assert not running.done(), running.exception()
    finally:
        await end(worker, running)


# 9
@pytest.mark.parametrize("mistake", ["waiting_for", "release"])
async def test_a_handler_that_names_a_parent_by_number_costs_no_worker(rig: Rig, mistake: str) -> None:
    async def mistaken(item: Event, tx: Any) -> None:
        if mistake == "release":
            release(42)  # type: ignore[arg-type]
        else:
            raise Retry(waiting_for=42)  # type: ignore[arg-type]

    rig.handlers.on("shop")(mistaken)
    worker = rig.worker(concurrency=1)
    await worker.intake.make_groups()
    await rig.send(event("a"))
    running = asyncio.create_task(worker.run())
    try:
        await asyncio.wait({running}, timeout=3)
        assert not running.done(), repr(running.exception())
    finally:
        await end(worker, running)


# 10
async def test_an_outage_of_another_postgres_is_not_one_of_ours(rig: Rig, effects: Any) -> None:
    async def calls(item: Event, tx: Any) -> None:
        if item.provider_event_id == "bad":
            await psycopg.AsyncConnection.connect("postgresql://nobody@127.0.0.1:1/x", connect_timeout=2)
        await effects(item, tx)

    rig.handlers.on("shop")(calls)
    worker = rig.worker(concurrency=1)
    await worker.intake.make_groups()
    await rig.send(event("bad"), event("good"))
    running = asyncio.create_task(worker.run())
    try:
        await applied(rig, 1, seconds=8)
    finally:
        print("breaker:", worker.committer.breaker.state, worker.committer.breaker.why)
        await end(worker, running)


# 11
async def test_readyz_does_not_show_what_a_statement_held(rig: Rig) -> None:
    async def handler(item: Event, tx: Any) -> None:
        await tx.execute("INSERT INTO nowhere VALUES ('alice@example.com')")

    rig.handlers.on("shop")(handler)
    worker = rig.worker(concurrency=1)
    await worker.intake.make_groups()
    await rig.send(event("a"))
    running = asyncio.create_task(worker.run())

    async def open_() -> bool:
        return bool(worker.committer.breaker.why)

    try:
        await until(open_)
        assert "alice" not in worker.committer.breaker.why, worker.committer.breaker.why
    finally:
        await end(worker, running)


# 12
WATCHED = """
import asyncio
from consumer.watchdog import Watchdog
async def main():
    w = asyncio.create_task(Watchdog(lambda: 0.0, hang_seconds=1.0, lane_seconds=1.0).run())
    print("up", flush=True)
    await asyncio.sleep(8)
    print("well", flush=True)
asyncio.run(main())
"""


def test_a_worker_that_was_stopped_and_continued_lives_on() -> None:
    died = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WATCHED], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(2)
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(1)
        died += process.poll() is not None
        process.kill()
        process.communicate()
    assert died == 0, f"{died} of 3 ended themselves"


# 13
async def test_a_row_that_somebody_holds_locked_does_not_hold_the_whole_batch(rig: Rig, effects: Any, postgres_url: str) -> None:
    rig.handlers.on("shop")(effects)
    await rig.rows_none("INSERT INTO effects VALUES ('locked', 0)")
    async with await psycopg.AsyncConnection.connect(postgres_url) as person:
        await person.execute("SELECT * FROM effects WHERE name = 'locked' FOR UPDATE")
        settings = PostgresSettings(lock_timeout_ms=100)
        async with postgres.pool(postgres_url, settings, "test") as pool:
            mine = Rig(rig.stream, rig.reader, pool, rig.handlers)
            worker = mine.worker(concurrency=1)
            await worker.intake.make_groups()
            await rig.send(event("locked"), event("good"))
            running = asyncio.create_task(worker.run())
            try:
                await applied(rig, 1, seconds=10)
            finally:
                await end(worker, running)
