"""`audit --watch` as a process: whoever leaves it running must learn of a loss, and not be told of one that is none."""

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
from urllib.parse import urlsplit

import pytest

from tests.cli.terminal import Terminal
from tests.fixtures import Rig, appendable, event, until
from tidegate import inbox
from tidegate.serving import listen

pytestmark = pytest.mark.process

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, redis_url: str, postgres_url: str, prefix: str) -> Iterator[Start]:
    """Start `audit --watch`, looking ten times a second, with its output in `out` and `err`."""
    started: list[subprocess.Popen[str]] = []

    def run(*words: str, given: dict[str, str] | None = None, stdout: int | None = None) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")} | {
            "TIDEGATE_REDIS_URL": redis_url,
            "TIDEGATE_POSTGRES_URL": postgres_url,
            "TIDEGATE_STREAM__PREFIX": prefix,
            "TIDEGATE_STREAM__SHARDS": "2",
            "TIDEGATE_STREAM__TIMEOUT_SECONDS": "0.5",
            "COLUMNS": "120",
            "LINES": "40",
            "TERM": "xterm",
            **(given or {}),
        }
        command = [sys.executable, "-m", "tidegate", "audit", "--watch", "--every", "0.1", *words]
        with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
            made = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=stdout or out, stderr=err, text=True)
        started.append(made)
        return made

    yield run
    for process in started:
        process.kill()
        process.wait()


async def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    return await asyncio.to_thread(process.wait, 20)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


async def has_lines(path: Path, count: int) -> bool:
    return len(lines(path)) >= count


async def contains(path: Path, text: str) -> bool:
    return text in path.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_quietly_with_0_when_nothing_was_ever_missing(
    rig: Rig, start: Start, tmp_path: Path, number: int
) -> None:
    await rig.send(event("a"), event("b"))
    process = start()
    await until(lambda: has_lines(tmp_path / "out", 3))
    await rig.drain()
    await until(lambda: contains(tmp_path / "out", "waiting=0"))
    assert await end(process, number) == 0
    assert (tmp_path / "err").read_text() == ""
    first, last = lines(tmp_path / "out")[0], lines(tmp_path / "out")[-1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z came=2 found=2 waiting=2 retrying=0 pending=0 unaccounted=0", first)
    assert last.endswith("came=2 found=2 waiting=0 retrying=0 pending=0 unaccounted=0")


@pytest.mark.parametrize("as_json", [True, False])
async def test_a_delivery_that_somebody_deletes_is_noticed_and_remembered(
    rig: Rig, start: Start, tmp_path: Path, as_json: bool
) -> None:
    await rig.send(event("a"))
    process = start(*(["--json"] if as_json else []))
    await until(lambda: has_lines(tmp_path / "out", 2))
    shard = rig.stream.shard_of("shop", "a")
    client: Any = rig.stream.client
    ((entry, fields),) = await client.xrange(rig.stream.keys[shard].events)
    await client.xdel(rig.stream.keys[shard].events, entry)
    await until(lambda: contains(tmp_path / "out", '"unaccounted": 1' if as_json else "unaccounted=1"))
    await client.xadd(rig.stream.keys[shard].events, fields)
    seen = len(lines(tmp_path / "out"))
    await until(lambda: has_lines(tmp_path / "out", seen + 3))
    assert await end(process) == 1, "what was amiss for a moment was amiss"
    if as_json:
        looks = [json.loads(line) for line in lines(tmp_path / "out")]
        counts = [look["unaccounted"] for look in looks]
        assert looks[0]["at"].endswith("Z")
    else:
        counts = [int(line.rsplit("=", 1)[1]) for line in lines(tmp_path / "out")]
    assert (counts[0], max(counts), counts[-1]) == (0, 1, 0)
    assert re.fullmatch(r"\S+Z UNACCOUNTED: 1\n", (tmp_path / "err").read_text())


async def test_it_outlives_the_servers_and_says_so_once(
    start: Start, tmp_path: Path, own_redis: Callable[..., Any], postgres_url: str
) -> None:
    server = own_redis()
    process = start(given={"TIDEGATE_REDIS_URL": server.url})
    await until(lambda: has_lines(tmp_path / "out", 1))
    server.kill()
    await until(lambda: contains(tmp_path / "err", "cannot look"))
    await asyncio.to_thread(hang_up_on, urlsplit(server.url).port or 0, 3)
    await asyncio.to_thread(server.start)
    await until(lambda: contains(tmp_path / "err", "looking again"))
    seen = len(lines(tmp_path / "out"))
    await until(lambda: has_lines(tmp_path / "out", seen + 2))
    assert await end(process) == 0
    away, back = lines(tmp_path / "err")
    assert re.fullmatch(r"\S+Z cannot look: Redis at .* does not answer .*", away)
    assert re.fullmatch(r"\S+Z looking again, after \d+\.\d s", back)


def hang_up_on(port: int, count: int) -> None:
    """Stand where a server was until ``count`` have tried to talk to it."""
    with listen("127.0.0.1", port) as listener:
        listener.settimeout(20)
        for _ in range(count):
            listener.accept()[0].close()


async def test_it_can_be_stopped_while_a_server_is_away(
    start: Start, tmp_path: Path, own_redis: Callable[..., Any]
) -> None:
    server = own_redis()
    process = start(given={"TIDEGATE_REDIS_URL": server.url})
    await until(lambda: has_lines(tmp_path / "out", 1))
    server.kill()
    await until(lambda: contains(tmp_path / "err", "cannot look"))
    assert await end(process, signal.SIGINT) == 0


async def test_to_start_it_against_a_dead_server_is_an_error(start: Start, tmp_path: Path) -> None:
    process = start(given={"TIDEGATE_REDIS_URL": "redis://127.0.0.1:1"})
    assert await asyncio.to_thread(process.wait, 20) == 3
    assert len(lines(tmp_path / "err")) == 1


async def test_a_reader_that_goes_away_ends_it_without_a_traceback(rig: Rig, start: Start, tmp_path: Path) -> None:
    read, write = os.pipe()
    process = start(stdout=write)
    os.close(write)
    assert os.read(read, 10)
    os.close(read)
    assert await asyncio.to_thread(process.wait, 20) == 0
    assert "Traceback" not in (tmp_path / "err").read_text()


async def test_on_a_terminal_it_shows_the_sides_the_rates_and_the_alarm(rig: Rig, start: Start) -> None:
    await rig.send(event("a"))
    client: Any = rig.stream.client
    with Terminal() as terminal:
        process = start(stdout=terminal.slave)
        terminal.handed_over()
        await until(lambda: shows(terminal, "a second"))
        assert "UNACCOUNTED" not in terminal.text
        await client.hincrby(rig.stream.keys[0].ledger, "accepted:shop", 1)
        await until(lambda: shows(terminal, "unaccounted 1"))
        await client.hincrby(rig.stream.keys[0].ledger, "accepted:shop", -1)
        seen = terminal.text.count("unaccounted 0")
        await until(lambda: shows(terminal, "unaccounted 0", seen + 1))
        assert await end(process) == 1
    assert terminal.text.count("UNACCOUNTED: 1") == 1
    assert "1 on the stream" in terminal.text


async def shows(terminal: Terminal, text: str, count: int = 1) -> bool:
    return terminal.text.count(text) >= count


@pytest.mark.parametrize(("words", "said"), [(("--every", "1"), "--watch, which was not given")])
def test_an_option_that_would_be_ignored_is_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    command = [sys.executable, "-m", "tidegate", "audit", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, said in done.stderr) == (2, True)


async def test_it_says_once_that_redis_was_emptied_and_shows_the_inbox(rig: Rig, start: Start, tmp_path: Path) -> None:
    await rig.send(event("a"))
    upkeep = rig.upkeep(rig.worker())
    await upkeep.measure()
    async with rig.pool.connection() as connection:
        await inbox.store(connection, [appendable(event("b"))], rows_max=10, bytes_max=1 << 20)
    process = start()
    await until(lambda: contains(tmp_path / "out", "waiting=1 retrying=0 pending=0 inbox=1 unaccounted=0"))
    client: Any = rig.stream.client
    for keys in rig.stream.keys:
        await client.delete(keys.events, keys.ledger, keys.epoch)
    await until(lambda: contains(tmp_path / "err", "Redis was emptied since"))
    await upkeep.measure()
    count = len(lines(tmp_path / "out"))
    await until(lambda: has_lines(tmp_path / "out", count + 3))
    assert await end(process) == 0
    (line,) = lines(tmp_path / "err")
    assert "1 delivery was waiting" in line
