"""`tidegate verify` as a person sees it: what failed, why, and nothing that may not be pasted into a ticket."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from ingest.adapters import build
from tests.cli.terminal import Terminal
from tests.cli.test_commands import run
from tests.ingest.adapters.requests import NOW, URL

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
SECRET = "whsec_hunter2hunter2"
BODY = b'{"id": "evt_1", "type": "\xc3\xa4[red]", "note": "more than what is shown of it"}'


def line(secret: str = SECRET, *, at: float = NOW) -> str:
    headers, body = build("stripe", [SECRET]).sign(BODY, url=URL, now_seconds=NOW, message_id="m")
    return json.dumps(
        {
            "provider": "stripe",
            "secret": secret,
            "url": URL,
            "headers": [*map(list, headers)],
            "body": body.decode(),
            "at": at,
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "requests.jsonl").write_text("\n".join([line(), line("other"), line(at=NOW + 900)]))
    return tmp_path


def seen(folder: Path, *words: str, columns: int = 80) -> list[str]:
    with Terminal() as terminal:
        command = [sys.executable, "-m", "tidegate", "verify", "--requests", "requests.jsonl", *words]
        given = {"COLUMNS": str(columns), "TERM": "xterm", "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        process = subprocess.Popen(command, cwd=folder, env=given, stdout=terminal.slave)
        terminal.handed_over()
        assert process.wait(60) == 1
    return [text.rstrip() for text in terminal.text.replace("\r", "").splitlines()]


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_the_first_failure_is_explained_and_each_has_its_line(folder: Path, columns: int) -> None:
    lines = seen(folder, columns=columns)
    assert max(map(cell_len, lines)) <= columns
    text = "\n".join(lines)
    assert "   1  valid" in text
    assert "   2  invalid  bad_signature\n" in text
    assert "   3  invalid  stale: good but for the clock" in text
    assert text.count("Stripe-Signature") == 1
    assert [part.split()[:2] for part in lines if part.split()[1:2] == ["no"]] == [["secret", "no"]]
    assert "hunter2" not in text
    assert "what is shown" not in text


def test_all_are_explained_or_none(folder: Path) -> None:
    assert "\n".join(seen(folder, "--explain")).count("Stripe-Signature") == 3
    assert "\n".join(seen(folder, "--no-explain")).count("Stripe-Signature") == 0


def test_in_a_file_there_is_a_line_a_request_unless_steps_are_asked_for(folder: Path) -> None:
    done = run("verify", "--requests", "requests.jsonl", cwd=folder)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 3)
    assert "Stripe-Signature" in run("verify", "--requests", "requests.jsonl", "--explain", cwd=folder).stdout


def test_a_source_of_a_provider_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "tidegate.toml").write_text(
        f'[sources.acme]\nprovider = "acme"\nsecrets = [{{ value = "{SECRET}", label = "of May" }}]\n'
        '[sources.old]\nprovider = "acme"\nsecrets = ["old"]\n'
        '[providers.acme.signature]\nkind = "hmac"\nheader = "X-Acme"\n'
    )
    headers, _ = build("acme", ["old"], own={"acme": {"signature": {"kind": "hmac", "header": "X-Acme"}}}).sign(
        BODY, url=URL, now_seconds=NOW, message_id="m"
    )
    captured = {"headers": [*map(list, headers)], "body": BODY.decode()}
    lines = "\n".join(json.dumps(one) for one in (captured, captured | {"provider": "acme", "secret": ["x", "old"]}))
    done = run("verify", "acme", "--requests", "-", "--json", cwd=tmp_path, stdin=lines)
    verdicts = [json.loads(one) for one in done.stdout.splitlines()]
    assert "secret of source old" in verdicts[0]["detail"]
    assert [step["text"][:13] for step in verdicts[0]["steps"] if step["step"] == "secret"] == ["of May: makes"]
    assert verdicts[1]["valid"]


def test_a_line_is_judged_by_the_public_url_of_its_source_as_at_the_gate(tmp_path: Path) -> None:
    (tmp_path / "tidegate.toml").write_text(
        f'[sources.crm]\nprovider = "hubspot"\nsecrets = ["{SECRET}"]\npublic_url = "https://hooks.example.com/crm"\n'
    )

    def captured(signed: str, called: str, **more: object) -> str:
        headers, body = build("hubspot", [SECRET]).sign(b"[]", url=signed, now_seconds=NOW, message_id="m")
        return json.dumps({"url": called, "headers": [*map(list, headers)], "body": body.decode(), "at": NOW} | more)

    inside, outside = "http://10.0.0.1:8080/webhooks/crm", "https://hooks.example.com/crm"
    lines = [
        captured(outside, inside),
        captured(f"{outside}?a=1", f"{inside}?a=1"),
        captured(inside, inside),
        captured(inside, inside, provider="hubspot", secret=SECRET),
        captured("https://elsewhere.example.com/", inside),
    ]
    done = run("verify", "crm", "--requests", "-", "--json", cwd=tmp_path, stdin="\n".join(lines))
    verdicts = [json.loads(one) for one in done.stdout.splitlines()]
    assert [one["valid"] for one in verdicts] == [True, True, False, True, False]
    assert "the gate takes public_url instead" in verdicts[2]["detail"]
    assert verdicts[2]["steps"][-1] == {"step": "cause", "good": None, "text": verdicts[2]["detail"]}
    assert "public_url instead" not in verdicts[4]["detail"]
