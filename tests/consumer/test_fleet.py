"""Real workers, killed, hung, restarted and overloaded: the fleet goes on, and no event is lost, doubled or blamed wrongly."""

from __future__ import annotations

import json
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.consumer.fleet import REPOSITORY, Fleet
from tests.fixtures import Rig, event, until
from tidegate.cli.stack import Process
from tidegate.stream import NOBODY

pytestmark = pytest.mark.process

DEADLY = """
[consumer]
handlers = "tests.consumer.deadly:handlers"
lease_seconds = 1
deliveries_max = 2
event_seconds = 1
batch_seconds = 2
hang_seconds = 1
[postgres]
lock_timeout_ms = 500
transaction_timeout_ms = 4000
statement_timeout_ms = 2000
[retry]
delays_seconds = [0.1, 0.1]
jitter_ms = 0
"""


@pytest.fixture
def fleet(
    tmp_path: Path, rig: Rig, redis_url: str, postgres_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Fleet]:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))

    def make(**options: Any) -> Fleet:
        return Fleet(tmp_path, redis_url=redis_url, postgres_url=postgres_url, prefix=prefix, **options)

    return make


async def settled(rig: Rig, fleet: Fleet) -> bool:
    fleet.supervise()
    states = [await rig.stream.audit(shard) for shard in range(2)]
    return not sum(state.events + state.retry for state in states)


@pytest.fixture
async def effects_table(rig: Rig) -> None:
    """Without a key: what takes effect twice is there twice."""
    await rig.rows_none("CREATE TABLE effects (name text NOT NULL, times int NOT NULL)")


async def effects(rig: Rig) -> list[str]:
    return [row[0] for row in await rig.rows("SELECT name FROM effects ORDER BY name")]


@pytest.mark.usefixtures("effects_table")
async def test_events_that_take_their_worker_down_become_letters_and_their_neighbours_are_applied(
    rig: Rig, fleet: Callable[..., Fleet]
) -> None:
    """Pitfall 13. Each takes down three workers here, the last two alone; nobody who shared a batch with it is blamed."""
    deadly = ["exits", "crashes", "loops", "matches", "stays"]
    innocent = [f"e{n}" for n in range(60)]
    await rig.send(*(event(name) for name in innocent[:30]))
    await rig.send(*(event(kind, event_type=kind) for kind in deadly))
    await rig.send(*(event(name) for name in innocent[30:]))
    with fleet(toml=DEADLY, ready=False) as running:
        await until(lambda: settled(rig, running), seconds=90)
        log = running.logs()
    letters = await rig.rows("SELECT provider_event_id, reason, attempts FROM dead_letters ORDER BY 1")
    assert letters == sorted((kind, "crash_loop", 1) for kind in deadly)
    assert await effects(rig) == sorted(innocent)
    assert 1 + 2 * len(deadly) <= running.deaths <= 2 + 2 * len(deadly)
    assert "deadly.py" in log, "the log must show where it hung"
    assert (await rig.audit()).unaccounted == 0


@pytest.mark.usefixtures("effects_table")
async def test_a_handler_that_exhausts_memory_costs_its_event_an_attempt_and_no_worker(
    rig: Rig, fleet: Callable[..., Fleet]
) -> None:
    await rig.send(event("bad", event_type="hoards"), *(event(f"e{n}") for n in range(20)))
    toml = DEADLY.replace("lease_seconds = 1", "lease_seconds = 1\nmemory_bytes_max = 536870912")
    toml = toml.replace(
        "hang_seconds = 1", "hang_seconds = 60"
    )  # to take half a gigabyte may block for longer than that
    with fleet(toml=toml) as running:
        await until(lambda: settled(rig, running), seconds=60)
    letters = await rig.rows("SELECT provider_event_id, reason, error FROM dead_letters")
    assert [(name, reason, error[:11]) for name, reason, error in letters] == [("bad", "exhausted", "MemoryError")]
    assert await effects(rig) == sorted(f"e{n}" for n in range(20))
    assert running.deaths == 0


@pytest.mark.usefixtures("effects_table")
async def test_a_rolling_restart_of_all_workers_under_load_applies_every_event_once(
    rig: Rig, fleet: Callable[..., Fleet]
) -> None:
    toml = DEADLY.replace("lease_seconds = 1", "lease_seconds = 60\nbatch = 50")
    sent: list[str] = []

    async def load(count: int) -> None:
        names = [f"e{len(sent) + n:05d}" for n in range(count)]
        sent.extend(names)
        for shard in range(2):
            mine = [event(name) for name in names if rig.stream.shard_of("shop", name) == shard]
            await rig.send(*mine)

    with fleet(toml=toml, size=3) as running:
        for leaving in list(running.workers):
            await load(700)
            leaving.signal(signal.SIGTERM)
            running.add().wait_ready()
            running.workers.remove(leaving)

            async def gone(leaving: Any = leaving) -> bool:
                await load(20)
                return not leaving.alive

            await until(gone)
            assert leaving.exit_code == 0
        # A lease of a minute: nothing waits for one to run out, or this does not end in time.
        await until(lambda: settled(rig, running), seconds=30)
        names = {c["name"].decode() for shard in range(2) for c in await rig.stream.consumers(shard)} - {NOBODY}
        assert len(names) == len(running.workers), f"consumers of workers that left: {names}"
    assert await effects(rig) == sorted(sent)
    assert running.deaths == 0
    assert await rig.rows("SELECT count(*) FROM dead_letters") == [(0,)]


def ask(worker: Process, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{worker.health_url}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_a_paused_worker_says_why_in_readyz_metrics_and_log(rig: Rig, fleet: Callable[..., Fleet]) -> None:
    """Whoever is paged must see at a glance that it is the schema, and that the worker itself lives."""
    with fleet(toml=DEADLY, size=1) as running:
        (worker,) = running.workers
        assert ask(worker, "/readyz")[0] == 200
        await rig.send(event("a"))

        async def not_ready() -> bool:
            return ask(worker, "/readyz")[0] == 503

        await until(not_ready)  # its handlers write to a table that is not there
        ready, metrics = ask(worker, "/readyz")[1], ask(worker, "/metrics")[1]
        assert "breaker open, refuses our statements" in ready
        assert '"effects\\" does not exist' in ready
        assert re.search(r'^tidegate_breaker_state{target="postgres"} [12]\.0', metrics, re.MULTILINE)
        assert ask(worker, "/livez")[0] == 200
        await rig.rows_none("CREATE TABLE effects (name text NOT NULL, times int NOT NULL)")
        await until(lambda: settled(rig, running), seconds=30)
        assert ask(worker, "/readyz")[0] == 200
        said = [line for line in running.logs().splitlines() if "Postgres refuses" in line or "well again" in line]
    assert len(said) == 2, "once when it begins, once when it ends"
    assert running.deaths == 0


@pytest.mark.usefixtures("effects_table")
async def test_a_worker_stays_below_200_mib_with_payloads_of_a_mebibyte(rig: Rig, fleet: Callable[..., Fleet]) -> None:
    """Default settings: batches are bounded by bytes, reads too. Small events come between the large ones."""
    members = {f"field_{n}": "x" * 90 for n in range(10_000)}
    large = json.dumps({"_id": "x", "campaignId": "c", "leadId": "l", "more": members}).encode()
    assert len(large) > 1_000_000
    for n in range(150):
        await rig.send(
            event(f"large{n}", payload=large, source="lemlist", provider="lemlist", event_type="emailsOpened")
        )
        if n % 10 == 0:
            await rig.send(*(event(f"small{n}-{m}", source="lemlist", provider="lemlist") for m in range(50)))
    with fleet(size=1, toml="[retry]\ndelays_seconds = [0.1]\n") as running:
        await until(lambda: settled(rig, running), seconds=90)
    print(f"peak memory {running.peak_bytes / 2**20:.0f} MiB")
    assert 2**25 < running.peak_bytes < 200 * 2**20
