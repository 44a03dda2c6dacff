"""`consume --drain` as a process: scripts rely on its exit code, and nobody may have to guess what it waits for."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import Terminal
from tests.fixtures import Rig, appendable, event, until
from tidegate import inbox
from tidegate.stream import Pauses

pytestmark = pytest.mark.process

HANDLERS = """
from tidegate import Handlers, Retry

handlers = Handlers()

@handlers.on("*", "soon")
async def soon(event, tx):
    if event.attempt == 1:
        raise Retry(after=0.5)

@handlers.on("*", "late")
async def late(event, tx):
    raise Retry(after=3600)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, redis_url: str, postgres_url: str, prefix: str) -> Iterator[Start]:
    """Start `consume --drain` over the servers of the rig."""
    (tmp_path / "hooks.py").write_text(HANDLERS)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")} | {
        "TIDEGATE_REDIS_URL": redis_url,
        "TIDEGATE_POSTGRES_URL": postgres_url,
        "TIDEGATE_STREAM__PREFIX": prefix,
        "TIDEGATE_STREAM__SHARDS": "2",
        "COLUMNS": "120",
        "TERM": "xterm",
    }
    started: list[subprocess.Popen[str]] = []

    def run(*words: str, **options: Any) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "tidegate",
            "consume",
            "hooks:handlers",
            "--metrics-port",
            "0",
            "--drain",
            *words,
        ]
        made = subprocess.Popen(
            command, **{"cwd": tmp_path, "env": environment, "stderr": subprocess.PIPE, "text": True, **options}
        )
        started.append(made)
        return made

    yield run
    for process in started:
        process.kill()
        process.communicate()


def said(log: str, what: str) -> list[dict[str, Any]]:
    """Return the lines of ``log`` whose event begins with ``what``."""
    return [line for line in map(json.loads, log.splitlines()) if line["event"].startswith(what)]


async def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, log = await asyncio.to_thread(process.communicate, timeout=60)
    assert "Traceback" not in log
    return process.returncode, log


async def test_it_ends_with_0_when_nothing_is_left_retries_included(rig: Rig, start: Start) -> None:
    await rig.send(*(event(f"e-{n}", event_type="soon" if n % 10 == 0 else "plain") for n in range(200)))
    code, log = await ended(start())
    assert code == 0
    assert await rig.rows("SELECT count(*) FROM events WHERE event_type = 'soon'") == [(20,)]
    assert (await rig.audit()).balance.found == 200
    assert {name: said(log, "draining")[-1][name] for name in ("done", "waiting", "retrying")} == {
        "done": 200,
        "waiting": 0,
        "retrying": 0,
    }
    assert said(log, "worker stopped")


async def test_nothing_to_do_is_done_at_once(rig: Rig, start: Start) -> None:
    assert (await ended(start()))[0] == 0


async def test_at_its_limit_it_stops_with_1_and_says_what_it_waited_for(rig: Rig, start: Start) -> None:
    await rig.send(event("a"), event("b", event_type="late"))
    code, log = await ended(start("--drain-limit", "1.5"))
    assert code == 1
    assert said(log, "the drain has reached its limit")[0]["limit_seconds"] == 1.5
    assert re.search(r"not drained: 0 wait, 1 wait for a retry \(the next is due in (0:59:\d\d|1:00:00)\)", log)
    assert said(log, "worker stopped"), "it must have left as any worker does"
    balance = (await rig.audit()).balance
    assert (balance.waiting, balance.retrying, balance.pending) == (0, 1, 0)


async def test_the_setting_limits_it_when_no_option_does(
    rig: Rig, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.send(event("b", event_type="late"))
    (tmp_path / "tidegate.toml").write_text("[consumer]\ndrain_limit_seconds = 0.5\n")
    assert (await ended(start()))[0] == 1


async def parked(rig: Rig) -> bool:
    return (await rig.audit()).balance.retrying == 1


async def test_told_to_stop_it_ends_with_1_since_something_is_left(rig: Rig, start: Start) -> None:
    await rig.send(event("b", event_type="late"))
    process = start()
    await until(lambda: parked(rig))
    process.send_signal(signal.SIGTERM)
    code, log = await ended(process)
    assert (code, len(said(log, "not drained: 0 wait, 1 wait for a retry"))) == (1, 1)
    assert said(log, "worker stopped")


async def test_told_to_stop_with_nothing_left_it_has_drained(rig: Rig, start: Start) -> None:
    """What it waited for was taken by another hand in the same moment: the caller asked for empty streams, and has them."""
    await rig.send(event("b", event_type="late"))
    process = start()
    await until(lambda: parked(rig))
    process.send_signal(signal.SIGSTOP)
    client: Any = rig.stream.client
    keys = rig.stream.keys[rig.stream.shard_of("shop", "b")]
    ((entry, _),) = await client.xrange(keys.retry)
    await client.xdel(keys.retry, entry)
    await client.zrem(keys.due, entry)
    await client.hincrby(keys.ledger, "accepted:shop", -1)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    assert (await ended(process))[0] == 0


async def test_it_waits_for_what_comes_in_meanwhile(rig: Rig, start: Start) -> None:
    await rig.send(event("a", event_type="late"))
    process = start("--drain-limit", "3")
    await until(lambda: parked(rig))
    await rig.send(event("b"), event("c"))
    code, log = await ended(process)
    last = said(log, "draining")[-1]
    assert (code, last["done"], last["retrying"]) == (1, 2, 1)


async def test_it_waits_for_what_lies_in_the_inbox(rig: Rig, start: Start) -> None:
    """Accepted while Redis was away: whoever asks for a drain does not mean to leave it behind."""
    async with rig.pool.connection() as connection:
        items = [appendable(event(f"e-{n}", event_type="plain")) for n in range(300)]
        await inbox.store(connection, items, rows_max=1000, bytes_max=1 << 30)
    code, log = await ended(start())
    assert code == 0
    assert (await rig.audit()).balance.ignored == 300
    assert said(log, "draining")[-1]["done"] == 300
    assert await rig.rows("SELECT count(*) FROM inbox") == [(0,)]


async def test_a_drain_that_leaves_the_inbox_behind_ends_with_1(rig: Rig, start: Start) -> None:
    async with rig.pool.connection() as holds_the_turn:
        await inbox.store(holds_the_turn, [appendable(event("a"))], rows_max=1000, bytes_max=1 << 30)
        await inbox.take_turn(holds_the_turn)
        code, log = await ended(start("--drain-limit", "1"))
    assert (code, len(said(log, "not drained: 1 in the inbox, 0 wait"))) == (1, 1)


async def test_what_waits_for_a_source_on_hold_is_not_waited_for(rig: Rig, start: Start, prefix: str) -> None:
    """Nobody knows when it will go on: the drain says so at once, and not after two hours."""
    await Pauses(rig.stream.client, prefix).set("shop", "hold")
    await rig.send(*(event(f"s{n}") for n in range(5)), *(event(f"c{n}", source="crm") for n in range(50)))
    await rig.send(event("soon", source="crm", event_type="soon"))
    code, log = await ended(start())
    assert code == 1
    assert said(log, "not drained: 5 wait for sources on hold: shop (`tidegate sources resume shop` lets them go on)")
    assert said(log, "draining")[-1]["held"] == 5
    assert said(log, "worker stopped")
    assert await rig.rows("SELECT source, count(*) FROM events GROUP BY 1") == [("crm", 51)]


async def test_on_a_terminal_it_shows_a_bar_and_what_it_waits_for(rig: Rig, start: Start) -> None:
    await rig.send(*(event(f"e-{n}") for n in range(50)), event("late", event_type="late"))
    with Terminal() as terminal:
        process = start("--drain-limit", "2", stderr=terminal.slave)
        terminal.handed_over()
        assert await asyncio.to_thread(process.wait, 30) == 1
    assert "50/51" in terminal.text
    assert "0 wait, 1 wait for a retry (the next is due in " in terminal.text
    assert "reached its limit" in terminal.text
    assert "batch settled" not in terminal.text, "a line a batch would push the bar away"
    assert "Traceback" not in terminal.text


async def test_a_limit_without_a_drain_is_refused(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tidegate", "consume", "--drain-limit", "5"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "--drain, which was not given" in done.stderr) == (2, True)
