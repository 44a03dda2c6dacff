"""Sources from the command line: what a person pauses stands still everywhere, what they resume goes on, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.cli.terminal import Terminal
from tests.cli.test_commands import NOWHERE, SECRET, run
from tests.consumer.fleet import REPOSITORY, Fleet
from tests.fixtures import Rig, event, until
from tidegate.cli.demo_sources import DemoSources
from tidegate.cli.stack import Process, Stack
from tidegate.embedded import RedisServer
from tidegate.postgres import Pool
from tidegate.stream import Pauses, Stream, connect
from tidegate.stream.keys import paused

pytestmark = pytest.mark.process

SOURCES = f"""
[sources.shop]
provider = "standard-webhooks"
secrets = ["{SECRET}", "env:NOT_SET_HERE"]
public_url = "https://hooks.example.com/webhooks/shop"
rate_per_second = 20

[sources.crm]
provider = "lemlist"
secrets = ["whk_hunter2"]
"""
HANDLERS = """
from tidegate import Handlers, Reject

handlers = Handlers()

@handlers.on("shop")
@handlers.on("crm")
async def count(event, tx):
    assert event.attempt == 1
    await tx.execute("INSERT INTO effects VALUES (%s)", [event.provider_event_id])

@handlers.on("hubspot")
async def reject(event, tx):
    raise Reject("not today")
"""
Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def given(redis_url: str, postgres_url: str, prefix: str) -> dict[str, str]:
    """The servers of the rig, as settings."""
    return {
        "TIDEGATE_REDIS_URL": redis_url,
        "TIDEGATE_POSTGRES_URL": postgres_url,
        "TIDEGATE_STREAM__PREFIX": prefix,
        "TIDEGATE_STREAM__SHARDS": "2",
    }


@pytest.fixture
def cli(tmp_path: Path, given: dict[str, str]) -> Cli:
    """Run `tidegate` over the servers of the rig."""
    (tmp_path / "tidegate.toml").write_text(SOURCES)

    def call(*words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        return run(*words, cwd=tmp_path, given=given | changed)

    return call


def listed(cli: Cli) -> dict[str, dict[str, Any]]:
    done = cli("sources", "list", "--json")
    assert done.returncode == 0
    return {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}


async def calmly(cli: Cli, *words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(cli, *words)


async def test_list_and_show_tell_where_each_source_stands_and_never_a_secret(cli: Cli, rig: Rig, prefix: str) -> None:
    await rig.send(event("a"), event("b"), event("c", source="gone"))
    await rig.drain()
    pauses = Pauses(rig.stream.client, prefix)
    await pauses.set("shop", "hold", "moving\x1b[2J house")
    await pauses.set("former", "refuse")
    await rig.stream.client.hset(paused(prefix), "strange", "{}")
    await rig.send(event("d"))
    worker = rig.worker()
    await worker.pausing.look()
    while sum((await worker.run_once()).values()):
        pass
    rows = await asyncio.to_thread(listed, cli)
    assert list(rows) == ["crm", "shop", "former", "gone"]
    shop = rows["shop"]
    assert {name: shop[name] for name in ("state", "provider", "path", "accepted", "ignored", "waiting", "held")} == {
        "state": "holding",
        "provider": "standard-webhooks",
        "path": "/webhooks/shop",
        "accepted": 3,
        "ignored": 2,
        "waiting": 1,
        "held": 1,
    }
    assert [rows[name]["state"] for name in rows] == ["taking", "holding", "refusing", "unconfigured"]
    table = (await calmly(cli, "sources", "list")).stdout
    assert "shop has been holding since" in table
    shown = await calmly(cli, "sources", "show", "shop")
    whole = await calmly(cli, "sources", "show", "shop", "--json")
    assert json.loads(whole.stdout)["secrets"] == 2
    assert "2, any of which verifies" in shown.stdout
    assert "https://hooks.example.com/webhooks/shop" in shown.stdout
    assert "20 a second, 100 at once" in shown.stdout
    assert "tolerance   what suits the provider" in shown.stdout
    crm = (await calmly(cli, "sources", "show", "crm")).stdout
    assert "not needed: this provider does not sign it" in crm
    assert "this provider signs no time" in crm
    assert "\\x1b[2J house" in shown.stdout
    assert (await calmly(cli, "sources", "show", "gone")).returncode == 0
    for text in (table, shown.stdout, whole.stdout):
        assert SECRET not in text
        assert "\x1b" not in text


async def test_what_suits_the_provider_is_told_in_seconds_where_its_declaration_says_them(
    cli: Cli, rig: Rig, tmp_path: Path
) -> None:
    (tmp_path / "tidegate.toml").write_text(
        '[sources.pay]\nprovider = "stripe"\nsecrets = ["a"]\n[sources.crm]\nprovider = "hubspot"\nsecrets = ["a"]\n'
        '[sources.own]\nprovider = "acme"\nsecrets = ["a"]\n[providers.acme]\nsignature = { kind = "hmac" }\n'
    )
    shown = [(await calmly(cli, "sources", "show", name)).stdout for name in ("pay", "crm", "own")]
    assert "what suits the provider: 300 s old at most, 300 s ahead" in shown[0]
    assert "this provider signs it: rebuilt from the Host header" in shown[1]
    assert "tolerance   what suits the provider  " in shown[2], (
        "what is wrong with a declaration is no reason to show nothing"
    )


async def test_pausing_twice_and_resuming_twice_say_so_and_change_nothing(cli: Cli, rig: Rig, prefix: str) -> None:
    pauses = Pauses(rig.stream.client, prefix)
    first = await calmly(cli, "sources", "pause", "shop", "--why", "a")
    assert "answered 503" in first.stdout
    before = await pauses.load()
    for words in (("pause", "shop"), ("pause", "shop", "--why", "a")):
        again = await calmly(cli, "sources", *words)
        assert (again.returncode, "nothing to do: shop has been refusing since" in again.stdout) == (0, True)
        assert await pauses.load() == before
    other = await calmly(cli, "sources", "pause", "shop", "--why", "b")
    assert (other.returncode, "another reason" in other.stdout) == (0, True)
    now = (await pauses.load())["shop"]
    assert (now.why, now.since_ms) == ("b", before["shop"].since_ms)
    held = await calmly(cli, "sources", "pause", "shop", "--hold")
    assert (held.returncode, "until now it has been refusing since" in held.stdout) == (0, True)
    assert (await pauses.load())["shop"].mode == "hold"
    resumed = await calmly(cli, "sources", "resume", "shop")
    assert (resumed.returncode, "shop goes on" in resumed.stdout) == (0, True)
    again = await calmly(cli, "sources", "resume", "shop")
    assert (again.returncode, again.stdout) == (0, "shop was not paused: nothing to do\n")
    assert await pauses.load() == {}


async def test_a_name_that_no_source_has_is_exit_2_with_the_nearest_unless_it_is_paused(
    cli: Cli, rig: Rig, prefix: str
) -> None:
    for words in (("pause", "shpo"), ("resume", "shpo"), ("show", "shpo"), ("test", "shpo")):
        done = await calmly(cli, "sources", *words)
        assert (done.returncode, "did you mean shop?" in done.stderr) == (2, True)
    pauses = Pauses(rig.stream.client, prefix)
    await pauses.set("shpo", "hold", "taken out of the settings since")
    assert (await calmly(cli, "sources", "resume", "shpo")).returncode == 0
    assert await pauses.load() == {}


def test_a_redis_that_is_away_is_one_line_and_exit_3(cli: Cli) -> None:
    for words in (("list",), ("pause", "shop"), ("resume", "shop")):
        done = cli("sources", *words, **NOWHERE)
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (3, 1)


@pytest.fixture
def fleet(
    tmp_path: Path, redis_url: str, postgres_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Fleet]:
    """Workers that count each effect, in a table without a key: what takes effect twice is there twice."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    folder = tmp_path / "fleet"
    folder.mkdir()
    (folder / "hooks.py").write_text(HANDLERS)

    def make(**options: Any) -> Fleet:
        toml = '[consumer]\nhandlers = "hooks:handlers"\nbatch = 20\nlease_seconds = 1\n'
        given = {"redis_url": redis_url, "postgres_url": postgres_url, "prefix": prefix, "toml": toml}
        return Fleet(folder, **{**given, **options})

    return make


@pytest.fixture
async def effects_table(rig: Rig) -> None:
    await rig.rows_none("CREATE TABLE effects (name text NOT NULL)")


async def effects(rig: Rig) -> list[str]:
    return sorted([row[0] for row in await rig.rows("SELECT name FROM effects")])


async def count_held(rig: Rig) -> int:
    return await rig.stream.held("shop")


async def knows(worker: Process, what: str) -> None:
    """Return when ``worker`` has heard ``what`` it logs."""

    async def said() -> bool:
        return f'"{what}"' in worker.log.read_text("utf-8", "replace")

    await until(said)


@pytest.mark.usefixtures("effects_table")
async def test_paused_by_the_command_line_its_events_wait_in_running_workers_and_resumed_each_is_applied_once(
    cli: Cli, rig: Rig, fleet: Callable[..., Fleet]
) -> None:
    with fleet() as running:
        assert (await calmly(cli, "sources", "pause", "shop", "--hold")).returncode == 0
        for worker in running.workers:
            await knows(worker, "source paused")
        for number in range(100):
            await rig.send(event(f"s{number}"), event(f"c{number:02}", source="crm"))

        async def others_applied() -> bool:
            return len(await effects(rig)) == 100 and await count_held(rig) == 100

        await until(others_applied)
        assert await effects(rig) == [f"c{number:02}" for number in range(100)]
        rows = await asyncio.to_thread(listed, cli)
        assert (rows["shop"]["waiting"], rows["shop"]["held"], rows["crm"]["waiting"]) == (100, 100, 0)
        assert (await rig.audit()).unaccounted == 0
        told = await calmly(cli, "sources", "resume", "shop")
        assert "on hold: 100 that waited are due now" in told.stdout

        async def all_applied() -> bool:
            return (await rig.audit()).balance.applied == 200

        await until(all_applied)  # by the clock it would take them half an hour
    assert await effects(rig) == sorted(
        f"{kind}{n:02}" if kind == "c" else f"s{n}" for kind in "cs" for n in range(100)
    )


@pytest.mark.usefixtures("effects_table")
async def test_workers_killed_while_they_park_lose_and_double_nothing(
    cli: Cli, rig: Rig, fleet: Callable[..., Fleet]
) -> None:
    names = [f"s{number}" for number in range(1500)]
    await calmly(cli, "sources", "pause", "shop", "--hold")
    await rig.send(*(event(name) for name in names))
    with fleet() as running:

        async def some_parked(more_than: int) -> bool:
            running.supervise()
            return await count_held(rig) > more_than

        for count in (0, 300, 600):
            await until(lambda count=count: some_parked(count))  # type: ignore[misc]
            for worker in running.workers:
                with suppress(ProcessLookupError):  # it has not been replaced since the last time
                    worker.signal(9)
            assert (await rig.audit()).unaccounted == 0
        await until(lambda: some_parked(len(names) - 1), seconds=60)
        assert await effects(rig) == []
        await calmly(cli, "sources", "resume", "shop")

        async def all_applied() -> bool:
            running.supervise()
            return (await rig.audit()).balance.applied == len(names)

        await until(all_applied, seconds=60)
        assert running.deaths >= 3  # one a round at least: the other may not have been replaced since
    assert await effects(rig) == sorted(names)


async def test_a_restart_of_redis_resumes_nothing(
    pool: Pool, fleet: Callable[..., Fleet], own_redis: Callable[..., RedisServer]
) -> None:
    server = own_redis()
    client = connect(server.url, timeout_seconds=5)
    stream = Stream(client, prefix="own", shards=2)
    pauses = Pauses(client, "own")
    await pauses.set("shop", "hold")
    own = Rig(stream, client, pool)
    await own.rows_none("CREATE TABLE effects (name text NOT NULL)")
    with fleet(redis_url=server.url, prefix="own", size=1) as running:
        await own.send(event("a"))

        async def parked(count: int) -> bool:
            return await stream.held("shop") == count

        await until(lambda: parked(1))
        server.kill()
        server.start()
        await own.send(event("b"), event("c", source="crm"))
        await until(lambda: parked(2), seconds=60)

        async def applied(count: int) -> bool:
            return len(await effects(own)) == count

        await until(lambda: applied(1))
        assert await effects(own) == ["c"]
        await pauses.clear("shop")  # by somebody who is killed before anything is made due
        await until(lambda: applied(3))
        assert "Traceback" not in running.logs()
    assert (await own.audit()).unaccounted == 0
    await client.aclose()


STACK = """\
[stream]
prefix = "{prefix}"
[consumer]
handlers = "hooks:handlers"
[ingest]
port = {port}

"""


@pytest.fixture
def stack(tmp_path: Path, redis_url: str, postgres_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Gate and worker over the test's servers; not started yet."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    folder = tmp_path / "stack"
    folder.mkdir()
    (folder / "hooks.py").write_text(HANDLERS)
    made = DemoSources()

    def settings(url: str) -> str:
        return STACK.format(prefix=prefix, port=url.rpartition(":")[2]) + made.toml(url)

    return Stack(
        folder,
        settings_text=settings,
        redis_url=redis_url,
        postgres_url=postgres_url,
        workers=1,
        python=[sys.executable, "-m", "tidegate"],
        console_port=None,
    )


@pytest.mark.usefixtures("effects_table")
async def test_a_test_event_is_followed_to_its_end_and_the_end_is_told(stack: Stack, rig: Rig, tmp_path: Path) -> None:
    rig.stream.keys[1:] = []  # the processes run with one shard

    def tried(*words: str, **environment: str) -> tuple[int, str]:
        done = run("-c", str(stack.config), "sources", *words, cwd=tmp_path, given=environment)
        return done.returncode, done.stdout + done.stderr

    with stack:
        code, text = await asyncio.to_thread(tried, "test", "crm")
        assert code == 0, text
        assert "tidegate.test as standard-webhooks" in text
        assert "202: accepted on redis in " in text
        assert "applied after " in text
        assert len(await effects(rig)) == 1
        code, text = await asyncio.to_thread(tried, "test", "lemlist")
        assert (code, "no handler wants its type, which is fine for a test" in text) == (0, True)
        code, text = await asyncio.to_thread(tried, "test", "hubspot")
        assert (code, "a letter, rejected: not today" in text) == (1, True)
        assert await rig.rows("SELECT source, event_type FROM dead_letters") == [("hubspot", "tidegate.test")]

        code, text = await asyncio.to_thread(tried, "test", "lemlist", "--type", "emailsOpened")
        assert (code, "a handler that wants it counts this one" in text) == (0, True)

        elsewhere = f"{stack.gate_url}/webhooks/lemlist"
        code, text = await asyncio.to_thread(tried, "test", "crm", "--url", elsewhere)
        assert (code, "401 Unauthorized: Signature missing, wrong or stale" in text) == (1, True)
        code, text = await asyncio.to_thread(tried, "test", "crm", "--url", "http://127.0.0.1:1/webhooks/crm")
        assert (code, "does not answer" in text) == (3, True)
        code, text = await asyncio.to_thread(tried, "test", "crm", "--url", "gate")
        assert (code, "is not a URL" in text) == (2, True)

        await asyncio.to_thread(tried, "pause", "crm", "--hold")
        await knows(stack.workers[0], "source paused")
        code, text = await asyncio.to_thread(tried, "test", "crm", "--timeout", "0.5")
        assert (code, "still waiting after 0.5 s: crm is on hold" in text) == (1, True)
        await asyncio.to_thread(tried, "resume", "crm")

        async def goes_on() -> bool:
            return len(await effects(rig)) == 2

        await until(goes_on)
        stack.workers[0].stop()
        code, text = await asyncio.to_thread(tried, "test", "crm", "--timeout", "0.5")
        assert (code, "still waiting after 0.5 s: is a worker running? (tidegate consume)" in text) == (1, True)
        code, text = await asyncio.to_thread(tried, "test", "crm", TIDEGATE_POSTGRES_URL="postgresql://127.0.0.1:1/x")
        assert (code, "Postgres" in text) == (3, True)
        assert (await rig.audit()).balance.waiting == 1, "what cannot be followed is not sent"
    await rig.drain()


def test_what_cannot_be_made_a_test_is_only_sent_when_it_is_asked_for_by_its_type(tmp_path: Path) -> None:
    (tmp_path / "tidegate.toml").write_text(
        '[sources.bell]\nprovider = "bell"\nsecrets = ["s"]\n[providers.bell.signature]\nkind = "token"\nheader = "X-T"\n'
        '[providers.bell.events]\ntype = "=rung"\n[[providers.bell.samples]]\ntype = "rung"\nbody = \'{"at": "<iso>"}\'\n'
    )
    done = run("sources", "test", "bell", cwd=tmp_path, given=NOWHERE)
    assert (done.returncode, "--type" in done.stderr, "rung" in done.stderr) == (2, True, True)
    asked = run("sources", "test", "bell", "--type", "rung", cwd=tmp_path, given=NOWHERE)
    assert (asked.returncode, "counts this one" in asked.stdout) == (3, True)


def test_of_a_provider_that_alone_can_sign_no_type_is_asked_for(tmp_path: Path) -> None:
    """It would not help: `--type` has nothing to sign with either."""
    key = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    (tmp_path / "tidegate.toml").write_text(f'[sources.bot]\nprovider = "discord"\nsecrets = ["{key}"]\n')
    done = run("sources", "test", "bot", cwd=tmp_path, given=NOWHERE)
    assert (done.returncode, "--type" in done.stderr, "nothing can be sent in its name" in done.stderr) == (
        2,
        False,
        True,
    )


async def test_on_a_terminal_of_80_columns_no_number_is_cut_and_no_name_is_lost(
    tmp_path: Path, given: dict[str, str], rig: Rig, prefix: str
) -> None:
    (tmp_path / "tidegate.toml").write_text(SOURCES)
    await rig.stream.client.hset(rig.stream.keys[0].ledger, "accepted:shop", 123_456_789)
    await rig.stream.client.hset(rig.stream.keys[0].ledger, "applied:shop", 123_456_789)
    since_ms = time.time_ns() // 1_000_000 - 5 * 60_000  # in the first second of a pause its length takes more room
    await Pauses(rig.stream.client, prefix).set("shop", "refuse", "because " * 20, since_ms=since_ms)
    with Terminal() as terminal:
        words = [sys.executable, "-m", "tidegate", "sources", "list"]
        columns = {"COLUMNS": "80", "TERM": "xterm", "PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"}
        process = subprocess.Popen(words, cwd=tmp_path, env={**given, **columns}, stdout=terminal.slave)
        terminal.handed_over()
        assert await asyncio.to_thread(process.wait, 30) == 0
    lines = terminal.text.replace("\r", "").splitlines()
    assert max(map(len, lines)) <= 80
    assert terminal.text.count("123,456,789") == 2
    assert "refusing" in terminal.text
    assert "standard-webhooks" in terminal.text
    await rig.stream.client.delete(rig.stream.keys[0].ledger)
