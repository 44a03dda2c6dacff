"""`tidegate dlq` and `tidegate console` as processes: what scripts read from them, and never a traceback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dlq import letters
from tests.cli.test_commands import NOWHERE, run
from tests.dlq.conftest import Bury, Mood, bury, mood
from tests.fixtures import Rig, event
from tidegate.event import Delivery

pytestmark = pytest.mark.process

__all__ = ["bury", "mood"]

Run = Callable[..., Any]


@pytest.fixture
def given(rig: Rig, redis_url: str, postgres_url: str, prefix: str) -> dict[str, str]:
    return {
        "TIDEGATE_REDIS_URL": redis_url,
        "TIDEGATE_POSTGRES_URL": postgres_url,
        "TIDEGATE_STREAM__PREFIX": prefix,
        "TIDEGATE_STREAM__SHARDS": str(len(rig.stream.keys)),
        "COLUMNS": "200",
    }


@pytest.fixture
def dlq(given: dict[str, str], tmp_path: Path) -> Run:
    """`await dlq(*words)` runs `tidegate dlq`; the loop goes on meanwhile."""

    async def call(*words: object, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        done = await asyncio.to_thread(run, "dlq", *map(str, words), cwd=tmp_path, given=given)
        assert done.returncode == exit_code, done.stderr
        return done

    return call


async def test_list_and_stats_print_json_for_scripts(dlq: Run, bury: Bury) -> None:
    a, b = await bury(event("a"), event("b", source="crm", event_type="contact.updated"))
    lines = [json.loads(line) for line in (await dlq("list", "--json")).stdout.splitlines()]
    assert [line["id"] for line in lines] == [str(b), str(a)]
    assert (lines[0]["reason"], lines[0]["error"], lines[0]["status"]) == ("rejected", "not today", "open")
    chosen = await dlq("list", "--json", "--source", "crm", "--type", "contact.*", "--status", "open", "--since", "1h")
    assert [json.loads(line)["id"] for line in chosen.stdout.splitlines()] == [str(b)]
    assert (await dlq("list", "--json", "--until", "2020-01-01")).stdout == ""
    assert len((await dlq("list", "--json", "--limit", 1)).stdout.splitlines()) == 1
    (first, second) = json.loads((await dlq("stats", "--json")).stdout)
    assert (first["source"], first["reason"], first["status"], first["count"]) == ("crm", "rejected", "open", 1)
    assert second["source"] == "shop"


async def test_list_show_and_stats_print_text_for_people(dlq: Run, bury: Bury) -> None:
    (letter,) = await bury(event("e-17", payload=b'{"price": 1.10, "x": "\xc2\x9b31m"}'))
    text = (await dlq("list")).stdout
    assert "e-17" in text
    assert "1 of 1 letters" in text
    shown = (await dlq("show", letter)).stdout
    assert str(letter) in shown
    assert "not today" in shown
    assert "\x9b" not in shown
    assert "rejected" in (await dlq("stats")).stdout
    assert "no letters" in (await dlq("list", "--source", "nobody")).stdout


async def test_hostile_letters_reach_a_terminal_tame(dlq: Run, bury: Bury) -> None:
    evil = "[/x][red]\x1b[2J\u202e"
    (letter,) = await bury(event(evil, source=evil, event_type=evil, payload=b'{"n":1.10,"n":2}', headers={evil: evil}))
    for words in (["list"], ["show", letter], ["stats"]):
        text = (await dlq(*words)).stdout
        assert "[/x][red]" in text  # no markup of ours, and no MarkupError
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert '"n": 1.10,' in (await dlq("show", letter)).stdout  # as it was spelled, twice as it was


async def test_a_list_that_is_piped_is_not_cut(dlq: Run, bury: Bury, given: dict[str, str]) -> None:
    given["COLUMNS"] = "80"
    name = "n" * 100
    (letter,) = await bury(event(name))
    (line,) = [line for line in (await dlq("list")).stdout.splitlines() if str(letter) in line]
    assert name in line


async def test_show_gives_the_payload_as_it_came(dlq: Run, bury: Bury) -> None:
    a, b = await bury(event("a", payload=b'{"n": 1.10}'), Delivery(event("b", payload=b"\xff"), malformed="no"))
    assert json.loads((await dlq("show", a, "--json")).stdout)["payload"] == '{"n": 1.10}'
    assert json.loads((await dlq("show", b, "--json")).stdout)["payload_base64"] == "/w=="


async def test_replay_looks_first_and_then_goes(dlq: Run, bury: Bury, rig: Rig, mood: Mood) -> None:
    a, b, c = await bury(event("a"), event("b"), event("c", source="crm"))
    assert json.loads((await dlq("replay", "--source", "shop", "--dry-run", "--json")).stdout) == {"would_replay": 2}
    assert await rig.rows("SELECT DISTINCT status FROM dead_letters") == [("open",)]
    assert "2" in (await dlq("replay", "--source", "shop", "--yes")).stdout
    mood.error = None
    await rig.drain()
    assert json.loads((await dlq("replay", c, "--yes", "--json")).stdout) == {"replayed": 1, "skipped": 0}
    await rig.drain()
    assert await rig.rows("SELECT status, count(*) FROM dead_letters GROUP BY 1") == [("resolved", 3)]
    assert json.loads((await dlq("replay", "--all", "--yes", "--json")).stdout) == {"replayed": 0, "skipped": 0}
    done = await dlq("replay", a, b, "--yes", "--json", exit_code=1)  # not open: they stay as they are
    assert json.loads(done.stdout) == {"replayed": 0, "skipped": 2}


async def test_replay_takes_up_what_was_cut_off(dlq: Run, bury: Bury, rig: Rig, mood: Mood) -> None:
    ids = await bury(event("a"), event("b"))
    async with rig.pool.connection() as connection:
        await letters.begin_replay(connection, ids)
    done = await dlq("replay", "--status", "replaying", "--yes", "--json")
    assert json.loads(done.stdout) == {"replayed": 2, "skipped": 0}
    mood.error = None
    await rig.drain()
    assert await rig.rows("SELECT DISTINCT status FROM dead_letters") == [("resolved",)]


async def test_discard_gives_letters_up(dlq: Run, bury: Bury, rig: Rig) -> None:
    (a, _) = await bury(event("a"), event("b", source="crm"))
    assert json.loads((await dlq("discard", a, "--dry-run", "--json")).stdout) == {"would_discard": 1}
    assert json.loads((await dlq("discard", a, "--yes", "--json")).stdout) == {"discarded": 1, "skipped": 0}
    assert "discarded 1" in (await dlq("discard", "--reason", "rejected", "--yes")).stdout
    assert await rig.rows("SELECT DISTINCT status FROM dead_letters") == [("discarded",)]


async def test_wrong_use_is_exit_2_and_changes_nothing(dlq: Run, bury: Bury, rig: Rig) -> None:
    (letter,) = await bury(event("a"))
    wrong: list[list[object]] = [
        ["replay"],
        ["replay", letter, "--all", "--yes"],
        ["replay", "--source", "shop"],  # nobody there to be asked
        ["replay", "--status", "resolved", "--yes"],
        ["replay", "not-a-uuid", "--yes"],
        ["replay", "--all", "--rate", 0],
        ["discard", "--all"],
        ["discard", "--status", "replaying", "--yes"],
        ["list", "--status", "closed"],
        ["list", "--since", "yesterday"],
        ["list", "--limit", 0],
        ["show"],
        ["nothing-like-that"],
    ]
    for done in await asyncio.gather(*(dlq(*words, exit_code=2) for words in wrong)):
        assert done.stdout == ""
    assert await rig.rows("SELECT status, replay_count FROM dead_letters") == [("open", 0)]


async def test_a_letter_that_is_not_there_is_exit_1(dlq: Run, rig: Rig) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    for words in (["show", nobody], ["replay", nobody, "--yes"], ["discard", nobody, "--yes"]):
        assert nobody in (await dlq(*words, exit_code=1)).stderr


@pytest.mark.parametrize("words", [("list",), ("stats",), ("replay", "--all", "--yes"), ("discard", "--all", "--yes")])
def test_an_unreachable_server_is_one_line_and_exit_3(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = run("dlq", *words, cwd=tmp_path, given=NOWHERE)
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.strip().splitlines()) == 1


def test_replay_without_redis_is_exit_3_and_no_letter_leaves_its_place(tmp_path: Path, postgres_url: str) -> None:
    given = {"TIDEGATE_REDIS_URL": NOWHERE["TIDEGATE_REDIS_URL"], "TIDEGATE_POSTGRES_URL": postgres_url}
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO dead_letters (source, provider_event_id, event_type, payload, reason, delivery_id, received_at)"
            " VALUES ('shop', 'a', 't', '{}', 'rejected', gen_random_uuid(), now())"
        )
        assert run("dlq", "replay", "--all", "--yes", cwd=tmp_path, given=given).returncode == 3
        assert connection.execute("SELECT status FROM dead_letters").fetchall() == [("open",)]


class TestConsole:
    def test_without_a_token_it_refuses_to_start(self, tmp_path: Path) -> None:
        for token in ({}, {"TIDEGATE_ADMIN_TOKEN": ""}, {"TIDEGATE_ADMIN_TOKEN": "  "}):
            done = run("console", "--port", "0", cwd=tmp_path, given=NOWHERE | token)
            assert done.returncode == 2
            assert "TIDEGATE_ADMIN_TOKEN" in done.stderr

    def test_an_unreachable_server_is_one_line_and_exit_3(self, tmp_path: Path, redis_url: str) -> None:
        for given in (NOWHERE, NOWHERE | {"TIDEGATE_REDIS_URL": redis_url}):
            done = run("console", "--port", "0", cwd=tmp_path, given=given | {"TIDEGATE_ADMIN_TOKEN": "t"})
            assert (done.returncode, len(done.stderr.strip().splitlines())) == (3, 1)

    def test_it_serves_until_it_is_told_to_stop(self, tmp_path: Path, given: dict[str, str]) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "tidegate", "console", "--port", "0"],
            cwd=tmp_path,
            env=environment | given | {"TIDEGATE_ADMIN_TOKEN": "t", "TIDEGATE_LOG_FORMAT": "json"},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if "console listens" in line)
            address = f"http://127.0.0.1:{json.loads(line)['port']}"
            assert urllib.request.urlopen(f"{address}/readyz").status == 200
            request = urllib.request.Request(f"{address}/api/ledger", headers={"Authorization": "Bearer t"})
            assert json.load(urllib.request.urlopen(request))["unaccounted"] == 0
            with pytest.raises(urllib.error.HTTPError, match="401") as refused:
                urllib.request.urlopen(f"{address}/api/ledger")
            refused.value.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
