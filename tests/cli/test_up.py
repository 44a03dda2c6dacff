"""`tidegate up` as somebody meets it who has sources of their own, and somebody who has none yet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.test_commands import run
from tests.consumer.fleet import REPOSITORY

pytestmark = pytest.mark.process

_KEPT = ("TIDEGATE_STREAM__PREFIX",)
OWN = """
[consumer]
handlers = "hooks:handlers"

[providers.acme]
signature = { kind = "hmac", header = "X-Acme-Signature" }
events = { id = "id", type = "event" }

[[providers.acme.samples]]
type = "order.paid"
body = '{"id": "evt_<id>", "event": "order.paid"}'

[sources.shop]
provider = "acme"
secrets = ["file:shop.secret"]
"""
HOOKS = """
from tidegate import Handlers

handlers = Handlers()

@handlers.on("shop", "*")
async def take(event, tx):
    pass
"""


@contextmanager
def up(folder: Path, given: dict[str, str]) -> Iterator[str]:
    """Run it in ``folder``; give what it printed once it was up."""
    environment = {
        name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith("TIDEGATE_")
    }
    environment |= {"PYTHONPATH": str(REPOSITORY)} | given
    words = [sys.executable, "-m", "tidegate", "up", "--port", "0", "--console-port", "0", "--workers", "1"]
    with subprocess.Popen(
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.rstrip().endswith(" audit"):
                break
        try:
            yield "".join(lines)
        finally:
            process.send_signal(signal.SIGINT)
            process.stdout.read()


def told(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as in another terminal, after `. .tidegate/env`."""
    environment = {
        name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith("TIDEGATE_")
    }
    return subprocess.run(
        ["/bin/sh", "-c", f". .tidegate/env && {sys.executable} -m tidegate {command}"],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def given(redis_url: str, postgres_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("TIDEGATE_STREAM__PREFIX", prefix)  # in both terminals
    return {"TIDEGATE_REDIS_URL": redis_url, "TIDEGATE_POSTGRES_URL": postgres_url}


def test_it_serves_the_sources_providers_and_handlers_of_the_settings(tmp_path: Path, given: dict[str, str]) -> None:
    (tmp_path / "tidegate.toml").write_text(OWN)
    (tmp_path / "hooks.py").write_text(HOOKS)
    (tmp_path / "shop.secret").write_text("acme-example-secret\n")
    with up(tmp_path, given) as text:
        assert "shop: of tidegate.toml" in text, text
        done = told(tmp_path, "sources test shop")
        assert (done.returncode, "applied after" in done.stdout) == (0, True), done.stdout + done.stderr
        done = told(tmp_path, "send shop --count 2")
        assert done.stdout == "2 x 202 Accepted\n", done.stderr
    assert not (tmp_path / ".tidegate" / "tidegate.toml").exists()


def test_without_sources_three_are_made_and_the_env_file_leads_to_them(tmp_path: Path, given: dict[str, str]) -> None:
    with up(tmp_path, given) as text:
        assert "crm, lemlist, hubspot: made for you" in text, text
        done = told(tmp_path, "send hubspot")
        assert (done.returncode, done.stdout[:3]) == (0, "202"), done.stderr
        assert told(tmp_path, "audit").returncode == 0
        bare = {"PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            ["/bin/sh", "-c", ". .tidegate/env && command -v tidegate"],
            cwd=tmp_path,
            env=bare,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == f"{Path(sys.executable).parent / 'tidegate'}\n"
    assert (tmp_path / ".tidegate" / "env").stat().st_mode & 0o077 == 0


def test_what_is_wrong_with_the_sources_is_said_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "tidegate.toml").write_text('[sources.shop]\nprovider = "stripe"\nsecrets = ["env:NOT_SET_HERE"]\n')
    done = run("up", cwd=tmp_path)
    assert (done.returncode, "NOT_SET_HERE is not set" in done.stderr) == (2, True)
    assert not (tmp_path / ".tidegate").exists()
