"""Rotating a secret from the command line: who looks sees which one is still needed, and never a secret."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import Terminal
from tests.cli.test_commands import run
from tidegate.stream import SecretUses, Stream, Used
from tidegate.stream.secret_uses import mark

pytestmark = pytest.mark.process

NEW, OLD, GONE = "whsec_bmV3IG5ldyBuZXcgbmV3", "whsec_b2xkIG9sZCBvbGQgb2xk", "whsec_Z29uZSBnb25lIGdvbmU="
SETTINGS = f"""
[sources.shop]
provider = "standard-webhooks"
secrets = [{{ value = "{NEW}", label = "2026-11" }}, "env:SHOP_SECRET_OLD"]

[sources.crm]
provider = "lemlist"
secrets = ["whk_hunter2"]
"""
DAY, MINUTE = 86_400_000, 60_000
Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def given(redis_url: str, postgres_url: str, prefix: str) -> dict[str, str]:
    return {
        "TIDEGATE_REDIS_URL": redis_url,
        "TIDEGATE_POSTGRES_URL": postgres_url,
        "TIDEGATE_STREAM__PREFIX": prefix,
        "TIDEGATE_STREAM__SHARDS": "2",
        "SHOP_SECRET_OLD": OLD,
    }


@pytest.fixture
def cli(tmp_path: Path, given: dict[str, str]) -> Cli:
    (tmp_path / "tidegate.toml").write_text(SETTINGS)

    def call(*words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        done = run(*words, cwd=tmp_path, given=given | changed)
        for secret in (NEW, OLD, GONE):
            assert secret not in done.stdout + done.stderr
        return done

    return call


@pytest.fixture
async def rotated(stream: Stream, prefix: str) -> int:
    """What gates told on the way of a rotation that began six days ago; return now in Unix milliseconds."""
    now_ms = time.time_ns() // 1_000_000
    uses = SecretUses(stream.client, prefix)

    def used(secret: str, label: str, count: int = 0, first: int = 0, last: int = 0) -> Used:
        return Used("shop", mark("shop", secret), label, count, now_ms - first, now_ms - last)

    old = "env:SHOP_SECRET_OLD"
    begun = [used(GONE, "env:\x1b[2Jx", 9, 20 * DAY, 20 * DAY), used(OLD, old), used(NEW, "2026-11")]
    await uses.tell(begun, now_ms - 20 * DAY)
    for day in range(19, 5, -1):
        await uses.tell([used(OLD, old, 700, (day + 1) * DAY, day * DAY)], now_ms - day * DAY)
    await uses.tell([used(NEW, "2026-11", 1204, 6 * DAY - MINUTE, 3 * MINUTE), used(OLD, old)], now_ms - MINUTE)
    return now_ms


async def calmly(cli: Cli, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(lambda: cli(*words, **changed))


@pytest.mark.usefixtures("rotated")
async def test_show_says_of_each_secret_when_it_verified_last_and_which_one_can_go(cli: Cli) -> None:
    shown = await calmly(cli, "sources", "show", "shop")
    lines = [line.strip() for line in shown.stdout.splitlines() if "verif" in line]
    date = r"\d{4}-\d\d-\d\d"
    for line, pattern in zip(
        lines,
        [
            r"secrets +2, any of which verifies",
            rf"2026-11 +in use; verified 1,204 requests since {date}, the last 3 min ago",
            rf"env:SHOP_SECRET_OLD +unused for 6 days: safe to retire; verified 9,800 requests since {date}, the last 6 days ago",
            rf"env:\\x1b\[2Jx +not in the settings any more; verified 9 requests since {date}, the last 20 days ago",
        ],
        strict=True,
    ):
        assert re.fullmatch(pattern, line), line


async def test_json_has_all_of_it(cli: Cli, rotated: int) -> None:
    found = json.loads((await calmly(cli, "sources", "show", "shop", "--json")).stdout)
    assert found["secrets"] == 2
    new, old, gone = found["secret_uses"]
    assert (new["verdict"], old["verdict"], gone["verdict"]) == ("in_use", "retire", "removed")
    assert old["says"] == "unused for 6 days: safe to retire"
    assert (old["requests"], old["requests_since"], old["needed_seconds"]) == (9800, 1204, 345_600)
    assert old["witnessed_seconds"] == (6 * DAY - 3 * MINUTE) // 1000
    assert set(old) == set(new) == set(gone)


@pytest.mark.usefixtures("rotated")
async def test_where_the_secret_cannot_be_read_its_label_is_enough(cli: Cli) -> None:
    """Whoever looks need not hold the secrets of the gate."""
    shown = await calmly(cli, "sources", "show", "shop", SHOP_SECRET_OLD="")
    assert "unused for 6 days: safe to retire" in shown.stdout


@pytest.mark.usefixtures("rotated")
async def test_another_secret_under_the_old_ones_name_is_not_taken_for_it(cli: Cli) -> None:
    shown = await calmly(cli, "sources", "show", "shop", SHOP_SECRET_OLD="whsec_YW5vdGhlciBhbm90aGVy")
    assert "safe to retire" not in shown.stdout
    assert re.search(r"env:SHOP_SECRET_OLD +no evidence yet: no gate has told of it; nothing on record", shown.stdout)


@pytest.mark.usefixtures("rotated")
async def test_list_and_doctor_mention_what_can_be_retired(cli: Cli) -> None:
    listed = await calmly(cli, "sources", "list")
    assert listed.stdout.splitlines()[-1] == "shop: env:SHOP_SECRET_OLD is unused for 6 days: safe to retire"
    doctor = json.loads((await calmly(cli, "doctor", "--json")).stdout)
    said = [finding for finding in doctor["findings"] if finding["what"].startswith("secrets")]
    assert said == [
        {
            "what": "secrets of shop",
            "found": "env:SHOP_SECRET_OLD is unused for 6 days: safe to retire",
            "remedy": "",
        }
    ]


@pytest.mark.usefixtures("stream")
async def test_without_a_record_nothing_is_claimed(cli: Cli) -> None:
    for name in ("shop", "crm"):
        shown = await calmly(cli, "sources", "show", name)
        assert "no evidence yet: no gate has told of it; nothing on record" in shown.stdout
        assert "retire" not in shown.stdout
    assert "retire" not in (await calmly(cli, "sources", "list")).stdout


@pytest.mark.usefixtures("rotated")
async def test_on_a_narrow_terminal_no_line_is_broken(tmp_path: Path, cli: Cli, given: dict[str, str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    with Terminal() as terminal:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidegate", "sources", "show", "shop"],
            cwd=tmp_path,
            env=environment | given | {"COLUMNS": "80", "TERM": "xterm"},
            stdout=terminal.slave,
            stderr=terminal.slave,
            stdin=subprocess.DEVNULL,
        )
        terminal.handed_over()
        assert await asyncio.to_thread(process.wait, 60) == 0
    lines: list[Any] = [line.strip() for line in terminal.text.splitlines()]
    assert "env:SHOP_SECRET_OLD  unused for 6 days: safe to retire" in lines
    assert [line for line in lines if line.startswith("verified 9,800 requests since") and line.endswith("6 days ago")]
