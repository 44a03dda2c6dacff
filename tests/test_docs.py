"""What the documents show is true: their Python runs, their settings load, their commands and paths exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from ingest import service
from ingest.adapters import catalogue
from tests.documents import secrets
from tidegate import Handlers
from tidegate.cli.main import cli
from tidegate.settings import load

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (f"{path.name}-{number}", text)
        for path in DOCUMENTS
        for number, (kind, text) in enumerate(_BLOCK.findall(path.read_text()))
        if kind == language
    ]


def cases(language: str) -> list[object]:
    return [pytest.param(text, id=name) for name, text in blocks(language)]


@pytest.mark.parametrize("text", cases("python"))
def test_python_runs(text: str) -> None:
    scope: dict[str, object] = {}
    exec(compile(text, "<document>", "exec"), scope)
    handlers = scope.get("handlers")
    if handlers is not None:
        assert isinstance(handlers, Handlers)
        assert len(handlers)


def test_as_many_providers_are_promised_as_there_are() -> None:
    text = (ROOT / "README.md").read_text()
    assert {int(number) for number in re.findall(r"(\d+) providers", text)} == {len(catalogue.names())}


@pytest.mark.parametrize("text", cases("toml"))
def test_settings_load_and_sources_work(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tomllib.loads(text)
    for source in settings.get("sources", {}).values():
        found = catalogue.find(source["provider"], settings.get("providers", {}), {})
        for name in re.findall(r"env:(\w+)", str(source)):
            monkeypatch.setenv(name, secrets.usable(source["provider"], found))
    path = tmp_path / "tidegate.toml"
    path.write_text(text)
    assert set(service.sources(load(path))) == set(settings.get("sources", {}))


def commands() -> list[object]:
    found: list[object] = []
    for name, text in blocks("sh"):
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["tidegate"]:
                found.append(pytest.param(words[1:], id=f"{name}: {' '.join(words)}"))
    return found


@pytest.mark.parametrize("words", commands())
def test_commands_exist_with_these_options(words: list[str]) -> None:
    """Parsed as far as the command that would run, without running it."""
    command: click.Command = cli
    context = click.Context(cli, info_name="tidegate")
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, name
        command = found
        context = click.Context(command, info_name=name, parent=context)
    command.make_parser(context).parse_args(list(words))
    for parameter in command.params:
        if isinstance(parameter, click.Argument) and parameter.required:
            assert words


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_named_paths_exist(document: Path) -> None:
    text = document.read_text()
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", text):
        assert (document.parent / target).exists(), target
    for target in re.findall(r"`((?:tests|docs|tidegate|ingest|consumer|dlq)/[\w/.-]+)`", text):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_a_document_names_is_there(document: Path) -> None:
    """A guarantee that names a test nobody runs would be a claim."""
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", document.read_text()):
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path}::{name}"


def test_the_guarantees_cover_every_known_way_to_lose_an_event() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    rows = re.findall(r"^\| ([\d, ]+) \|.*`tests/.*::\w+`", text, re.MULTILINE)
    assert sorted(int(number) for row in rows for number in row.split(",")) == list(range(1, 21))


def test_every_make_target_named_in_a_document_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for _, text in blocks("sh"):
        for target in re.findall(r"^make ([a-z-]+)", text, re.MULTILINE):
            assert target in targets
