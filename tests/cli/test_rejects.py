"""`tidegate rejects` as a process: what a person reads at night, what a script reads, and a tail that outlives Redis."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import Terminal
from tests.cli.test_commands import run
from tests.fixtures import until
from tests.stream.test_rejected import RECORD
from tidegate.cli.refusals import clock, when
from tidegate.stream import Client, Rejected, RejectedLog, connect

pytestmark = pytest.mark.process

NOW_MS = time.time_ns() // 1_000_000
STALE = replace(
    RECORD,
    at_ms=NOW_MS - 60_000,
    clock_seconds=720.0,
    suppressed=0,
    detail="good but for the clock: signed 720 s ago, 300 s are allowed: check the clock here and at the provider, or "
    "raise tolerance_seconds",
)
FORGED = replace(
    STALE, id="b", at_ms=NOW_MS, source="hubspot-europe-west", provider="hubspot", reason="bad_signature",
    scheme="v3+v1", clock_seconds=-0.2, bytes=1_234_567, address="2001:db8:85a3::8a2e:370:7334",
    detail="good for https:// instead of http://: set public_url to https://hooks.example.com/webhooks/hubspot",
)  # fmt: skip
ASKED = replace(
    STALE, id="c", at_ms=NOW_MS - 7_200_000, source="wp-login.php", provider="", status=404, reason="unknown_source",
    scheme="", clock_seconds=None, bytes=0, suppressed=12_345, detail="no source of this name is configured",
)  # fmt: skip

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def log(client: Client, prefix: str) -> RejectedLog:
    return RejectedLog(client, prefix=prefix)


@pytest.fixture
def given(redis_url: str, prefix: str) -> dict[str, str]:
    return {
        "TIDEGATE_REDIS_URL": redis_url,
        "TIDEGATE_STREAM__PREFIX": prefix,
        "TIDEGATE_STREAM__TIMEOUT_SECONDS": "0.5",
    }


@pytest.fixture
def shown(given: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """`await shown(*words)` runs `tidegate rejects` and returns what it prints."""

    async def call(*words: str) -> str:
        done = await asyncio.to_thread(run, "rejects", *words, cwd=tmp_path, given=given)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return call


@pytest.fixture
def start(given: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start `rejects`, with its output in `out` and `err`."""
    with ExitStack() as stack:

        def begin(*words: str, stdout: int | None = None, **changed: str) -> subprocess.Popen[str]:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
            with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
                made = subprocess.Popen(
                    [sys.executable, "-m", "tidegate", "rejects", *words],
                    cwd=tmp_path,
                    env=environment | given | changed,
                    stdout=stdout or out,
                    stderr=err,
                    text=True,
                )
            stack.callback(made.wait)
            stack.callback(made.kill)
            return made

        yield begin


async def contains(path: Path, text: str) -> bool:
    return text in path.read_text()


async def test_scripts_read_an_object_a_line_newest_last(log: RejectedLog, shown: Callable[..., Any]) -> None:
    await log.add([ASKED, STALE, FORGED], 1000)
    lines = [json.loads(line) for line in (await shown("--json")).splitlines()]
    assert [line["reason"] for line in lines] == ["unknown_source", "stale", "bad_signature"]
    first = lines[0]
    assert first.pop("at") == when(ASKED).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert Rejected(**first) == ASKED


async def test_of_a_content_type_that_is_not_taken_it_is_said_which_it_was(
    log: RejectedLog, shown: Callable[..., Any]
) -> None:
    await log.add(
        [replace(STALE, reason="content_type", content_type="text/x-\x1b[2J", detail="not taken: why?")], 1000
    )
    text = await shown("--since", "1h")
    assert "not taken: why? It came as text/x-\\x1b[2J" in text


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        (("--source", "crm"), ["stale"]),
        (("--source", "wp-login.php"), ["unknown_source"]),
        (("--reason", "bad_signature"), ["bad_signature"]),
        (("--since", "1h"), ["stale", "bad_signature"]),
        (("--since", "1h", "--source", "crm", "--reason", "stale"), ["stale"]),
        (("--limit", "2"), ["stale", "bad_signature"]),
        (("--limit", "1", "--source", "crm"), ["stale"]),
        (("--since", "0s"), []),
    ],
)
async def test_only_what_was_asked_for_is_shown(
    log: RejectedLog, shown: Callable[..., Any], words: tuple[str, ...], reasons: list[str]
) -> None:
    await log.add([ASKED, STALE, FORGED], 1000)
    found = [json.loads(line)["reason"] for line in (await shown("--json", *words)).splitlines()]
    assert found == reasons


async def test_a_rare_one_is_found_behind_thousands(log: RejectedLog, shown: Callable[..., Any]) -> None:
    await log.add([ASKED, *(replace(STALE, id=f"s{number}") for number in range(1600))], 10_000)
    assert len((await shown("--json", "--reason", "unknown_source")).splitlines()) == 1
    assert len((await shown("--json", "--limit", "1550")).splitlines()) == 1550


async def test_what_was_written_twice_is_shown_once(log: RejectedLog, shown: Callable[..., Any]) -> None:
    await log.add([STALE, FORGED], 1000)
    await log.add([STALE, FORGED], 1000)
    assert len((await shown("--json")).splitlines()) == 2


async def test_grep_finds_reason_and_advice_on_one_line(log: RejectedLog, shown: Callable[..., Any]) -> None:
    await log.add([ASKED, STALE, replace(STALE, id="d"), FORGED], 1000)
    head, asked, stale, again, forged = (await shown()).splitlines()
    assert head.split() == ["time", "(UTC)", "source", "status", "reason", "scheme", "clock", "bytes", "address"]
    for text in ("wp-login.php", "404", "unknown_source", "12,345 more like it"):
        assert text in asked
    for line in (stale, again):
        for text in ("crm", "401", "stale", "12 min behind", STALE.detail):
            assert text in line
    for text in ("hubspot-europe-west", "v3+v1", "in step", "1,234,567", "2001:db8:85a3::8a2e:370:7334", FORGED.detail):
        assert text in forged


@pytest.mark.parametrize("columns", [80, 140])
async def test_on_a_terminal_no_line_is_wider_and_nothing_is_left_out(
    log: RejectedLog, start: Start, columns: int
) -> None:
    hostile = replace(STALE, id="e", source="a\x1b[2J\nb", detail="x\x9b31m\u202e", user_agent="[red]")
    await log.add([ASKED, STALE, replace(STALE, id="d"), FORGED, hostile], 1000)
    with Terminal() as terminal:
        process = start(stdout=terminal.slave, COLUMNS=str(columns), TERM="xterm")
        terminal.handed_over()
        assert await asyncio.to_thread(process.wait, 30) == 0
    lines = terminal.text.splitlines()
    assert max(map(len, lines)) <= columns
    text = " ".join(" ".join(lines).split())
    for found in ("12 min behind", "in step", "1,234,567", "2001:db8:85a3::8a2e:370:7334", "12,345 more like it"):
        assert found in text
    assert text.count(STALE.detail) == 1, "the same advice twice running is noise"
    assert FORGED.detail in text
    assert not {"\x9b", "\u202e"} & set(text)
    assert "\\x1b[2J" in text


async def test_nothing_refused_is_said_kindly(shown: Callable[..., Any], given: dict[str, str]) -> None:
    assert await shown() == "no refused request\n"
    assert await shown("--source", "crm") == "no refused request that fits\n"
    assert await shown("--json") == ""
    given["TIDEGATE_INGEST__REJECTS_MAX"] = "0"
    assert await shown() == "no refused request: ingest.rejects_max is 0, so none is kept\n"


def test_wrong_use_is_exit_2(tmp_path: Path, given: dict[str, str]) -> None:
    for words in (["--reason", "because"], ["--since", "yesterday"], ["--limit", "0"], ["crm"]):
        done = run("rejects", *words, cwd=tmp_path, given=given)
        assert (done.returncode, done.stdout) == (2, "")


class TestFollow:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_it_shows_what_was_and_what_comes_until_it_is_stopped(
        self, log: RejectedLog, start: Start, tmp_path: Path, number: int
    ) -> None:
        await log.add([ASKED, STALE], 1000)
        process = start("--follow", "--json", "--since", "1h")
        await until(lambda: contains(tmp_path / "out", '"stale"'))
        await log.add([replace(ASKED, id="old"), FORGED, STALE, FORGED], 1000)
        await until(lambda: contains(tmp_path / "out", '"bad_signature"'))
        await log.add([replace(STALE, id="last")], 1000)
        await until(lambda: contains(tmp_path / "out", '"last"'))
        process.send_signal(number)
        assert await asyncio.to_thread(process.wait, 20) == 0
        ids = [json.loads(line)["id"] for line in (tmp_path / "out").read_text().splitlines()]
        assert ids == [STALE.id, FORGED.id, "last"]
        assert (tmp_path / "err").read_text() == ""

    async def test_it_outlives_a_restart_of_redis_and_says_so_once(
        self, start: Start, tmp_path: Path, own_redis: Callable[..., Any]
    ) -> None:
        server = own_redis()
        process = start("--follow", "--json", TIDEGATE_REDIS_URL=server.url, TIDEGATE_STREAM__PREFIX="tg")
        await until(lambda: contains(tmp_path / "err", "nothing so far"))
        server.kill()
        await until(lambda: contains(tmp_path / "err", "cannot look"))
        await asyncio.to_thread(server.start)
        async with connect(server.url, timeout_seconds=5) as client:
            log = RejectedLog(client, prefix="tg")
            await log.add([STALE], 1000)
            await until(lambda: contains(tmp_path / "out", '"stale"'))
            await log.add([FORGED], 1000)
            await until(lambda: contains(tmp_path / "out", '"bad_signature"'))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0
        hint, away, back = (tmp_path / "err").read_text().splitlines()
        assert "Ctrl-C ends" in hint
        assert "Z cannot look: " in away
        assert "Z looking again, after " in back

    async def test_it_can_be_stopped_while_redis_is_away(
        self, start: Start, tmp_path: Path, own_redis: Callable[..., Any]
    ) -> None:
        server = own_redis()
        process = start("--follow", TIDEGATE_REDIS_URL=server.url)
        await until(lambda: contains(tmp_path / "err", "nothing so far"))
        server.kill()
        await until(lambda: contains(tmp_path / "err", "cannot look"))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0

    async def test_a_reader_that_goes_away_ends_it_without_a_traceback(
        self, log: RejectedLog, start: Start, tmp_path: Path
    ) -> None:
        await log.add([STALE], 1000)
        read, write = os.pipe()
        process = start("--follow", stdout=write)
        os.close(write)
        assert os.read(read, 10)
        os.close(read)
        await log.add([FORGED], 1000)
        assert await asyncio.to_thread(process.wait, 20) == 0
        assert "Traceback" not in (tmp_path / "err").read_text()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.4, "in step"),
        (720, "12 min behind"),
        (-4, "4 s ahead"),
        (1.7e9, "years behind"),
        (-1e15, "years ahead"),
    ],
)
def test_the_clock_is_told_as_people_say_it(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


def test_a_time_that_is_none_breaks_no_table() -> None:
    assert when(replace(RECORD, at_ms=10**17)) == datetime(1970, 1, 1, tzinfo=UTC)
