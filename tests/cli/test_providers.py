"""`tidegate providers`: whoever wants to connect a service finds it, and what to put where."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from ingest.adapters import catalogue
from ingest.adapters.declaration import Declaration
from tests.cli.terminal import Terminal
from tests.cli.test_commands import run
from tidegate.cli.providers import page, snippet
from tidegate.settings import load

ROOT = Path(__file__).parents[2]
OWN = """
[providers.acme]
title = "Acme \x5cu001b[2J"
secret = "the key from Acme's page"
caveats = ["Acme sends [red]markup[/red] in its names."]
[providers.acme.signature]
kind = "hmac"
header = "X-Acme-Signature"
signed = "{timestamp}.{body}"
[providers.acme.timestamp]
header = "X-Acme-Time"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tidegate.toml").write_text(OWN)
    return tmp_path


def told(name: str, words: Declaration, *, width: int = 1000, own: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(page(name, words, own=own))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_all_are_listed_and_the_users_own_first_and_marked(folder: Path) -> None:
    rows = [json.loads(line) for line in run("providers", "list", "--json", cwd=folder).stdout.splitlines()]
    assert [row["name"] for row in rows] == ["acme", *catalogue.names()]
    assert [row["name"] for row in rows if row["own"]] == ["acme"]
    assert rows[0]["evidence"] == "own"
    assert rows[0]["verified"] == "HMAC-SHA256 + time"
    done = run("providers", cwd=folder)
    assert done.returncode == 0
    for name in ("acme", *catalogue.names()):
        assert f"\n{name} " in done.stdout
    assert "\x1b" not in done.stdout


def test_one_of_the_users_own_that_means_nothing_says_which_word(tmp_path: Path) -> None:
    (tmp_path / "tidegate.toml").write_text(OWN.replace("header = ", "haeder = "))
    done = run("providers", cwd=tmp_path)
    assert (done.returncode, "providers.acme.signature.haeder" in done.stderr) == (2, True)


def test_an_unknown_provider_is_exit_2_with_the_nearest(folder: Path) -> None:
    done = run("providers", "show", "strpe", cwd=folder)
    assert (done.returncode, "did you mean stripe" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", catalogue.names())
def test_what_is_declared_of_a_provider_is_shown_and_fits_80_columns(name: str) -> None:
    words = catalogue.declaration(name)
    text = told(name, words)
    for said in (
        words.title,
        words.homepage,
        words.secret,
        words.retries,
        *words.setup,
        *words.caveats,
        *words.sources,
    ):
        assert said in text
    for found in words.signatures:
        headers = [found.header] if isinstance(found.header, str) else found.header or []
        assert all(header in text for header in headers)
    for sample in words.samples:
        assert sample.type in text
    narrow = told(name, words, width=80)
    assert max(map(cell_len, narrow.splitlines())) <= 80
    assert "".join(narrow.split()) != ""


def test_a_users_own_is_shown_as_such_and_nothing_of_it_takes_effect_in_the_terminal(folder: Path) -> None:
    done = run("providers", "show", "acme", cwd=folder)
    assert "own: declared in your settings" in done.stdout
    assert "X-Acme-Signature" in done.stdout
    assert "X-Acme-Time" in done.stdout
    assert "[red]markup[/red]" in done.stdout
    assert "\x1b" not in done.stdout


def test_json_is_the_declaration_itself(folder: Path) -> None:
    for name, expected in (("stripe", catalogue.declaration("stripe")), ("slack", catalogue.declaration("slack"))):
        shown = run("providers", "show", name, "--json", cwd=folder).stdout
        assert Declaration.model_validate_json(shown) == expected
    assert run("providers", "show", "slack", "--json", "--toml", cwd=folder).returncode == 2


@pytest.mark.parametrize("name", [*catalogue.names(), "a.b"])
def test_the_settings_that_are_shown_load(name: str, tmp_path: Path) -> None:
    words = catalogue.declaration(name) if name in catalogue.names() else catalogue.declaration("stripe")
    text = snippet(name, words)
    (tmp_path / "tidegate.toml").write_text(text)
    assert [source.provider for source in load(tmp_path / "tidegate.toml").sources.values()] == [name]
    (source,) = tomllib.loads(text)["sources"].values()
    wants_secret = any(one.secret is not None for one in words.handshakes)
    assert ("handshake_secret" in source) == wants_secret


def test_who_signs_the_url_gets_a_public_url_and_nobody_else() -> None:
    assert "public_url" in snippet("hubspot", catalogue.declaration("hubspot"))
    assert "public_url" not in snippet("stripe", catalogue.declaration("stripe"))
    assert "public_url" not in snippet("cloudevents", catalogue.declaration("cloudevents"))
    signs_url = Declaration.model_validate({"signature": {"kind": "hmac", "header": "X", "signed": "{url}{body}"}})
    assert "public_url" in snippet("x", signs_url)


@pytest.mark.process
@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_the_list_fits(tmp_path: Path, columns: int) -> None:
    with Terminal() as terminal:
        words = [sys.executable, "-m", "tidegate", "providers"]
        given = {"COLUMNS": str(columns), "TERM": "xterm", "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        process = subprocess.Popen(words, cwd=tmp_path, env=given, stdout=terminal.slave)
        terminal.handed_over()
        assert process.wait(60) == 0
    lines = terminal.text.replace("\r", "").splitlines()
    assert max(map(cell_len, lines)) <= columns
    assert "providers show NAME" in terminal.text
