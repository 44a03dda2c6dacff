"""The generated files say what the declarations say. Whoever changes one runs `make docs`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import jsonschema_rs
import pytest

from ingest.adapters import catalogue
from ingest.adapters.declaration import Declaration
from tests.documents import files, sentences
from tests.documents.page import page
from tests.documents.schema import schema

MADE = files.made()
ROWS = sorted(files.SCHEMA.parent.glob("*.toml"))
RUN = "run make docs"


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_a_page_says_what_the_declaration_says(path: Path) -> None:
    assert path.exists(), RUN
    assert path.read_text(encoding="utf-8") == MADE[path], RUN


def test_no_page_is_left_of_a_provider_that_is_no_more() -> None:
    assert files.outdated(MADE) == [], RUN


def test_making_again_changes_nothing() -> None:
    assert files.made() == MADE


def test_the_page_written_by_hand_holds_all_words() -> None:
    text = files.YOUR_OWN.read_text(encoding="utf-8")
    for table in [schema(), *schema()["$defs"].values()]:
        for name in table["properties"]:
            assert f"\n| `{name}` | " in text


@pytest.mark.parametrize("name", catalogue.names())
def test_a_page_has_all_that_is_declared(name: str) -> None:
    """A word that the template forgot would be a fact that nobody is told."""
    words = catalogue.declaration(name)
    text = "".join(page(name, words).replace("\\", "").split())
    told = [*words.setup, *words.caveats, *words.sources, words.retries, words.homepage, words.secret.rstrip(".")]
    for fact in [*told, *(sample.type for sample in words.samples), *(found.signed for found in words.signatures)]:
        plain = "" if fact == "{body}" else "".join(fact.replace("\\", "").split())
        assert plain in text
    assert f"Evidence:**{words.evidence}**" in text
    for found in words.handshakes:
        assert f"- {sentences.handshake(found)}\n" in page(name, words)


@pytest.mark.parametrize("path", ROWS, ids=lambda path: path.stem)
def test_a_row_is_valid_by_the_schema(path: Path) -> None:
    found = jsonschema_rs.validator_for(schema()).iter_errors(tomllib.loads(path.read_text(encoding="utf-8")))
    assert [f"{'.'.join(map(str, error.instance_path))}: {error.message}" for error in found] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"sgnature": {"kind": "hmac"}},
        {"signature": {"kind": "hmacs", "header": "X"}},
        {"signature": {"header": "X"}},
        {"signature": []},
        {"answers": {"success": 302}},
        {"answers": {"success": "200"}},
        {"timestamp": {"header": "X", "tolerance_seconds": 0}},
        {"handshakes": [{"when": {"type": 1}}]},
        {"samples": [{"type": "x"}]},
        {"methods": []},
    ],
)
def test_the_schema_refuses_what_the_gate_would(wrong: dict[str, object]) -> None:
    assert not jsonschema_rs.validator_for(schema()).is_valid(wrong)


def test_every_word_has_its_meaning_and_is_written_as_in_a_row() -> None:
    tables = [schema(), *schema()["$defs"].values()]
    for table in tables:
        assert table["additionalProperties"] is False
        for name, word in table["properties"].items():
            assert word.get("description"), name
            assert not name.endswith("_")
    assert set(schema()["properties"]) == {field.alias or name for name, field in Declaration.model_fields.items()}
