"""The generated files: where each is, and what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ingest.adapters import catalogue
from tests.documents import schema
from tests.documents.index import index
from tests.documents.page import page
from tests.documents.vocabulary import vocabulary

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "providers"
YOUR_OWN = PAGES / "your-own.md"
SCHEMA = ROOT / "ingest" / "providers" / "schema.json"
_BY_HAND = {YOUR_OWN}
_WORDS = re.compile(r"(?<=<!-- words: made by `make docs` -->\n).*?(?=<!-- end of words -->)", re.DOTALL)


def made() -> dict[Path, str]:
    """Return the text of each file."""
    declared = {name: catalogue.declaration(name) for name in catalogue.names()}
    pages = {PAGES / f"{name}.md": page(name, words) for name, words in declared.items()}
    return {SCHEMA: schema.text(), PAGES / "README.md": index(declared), YOUR_OWN: _your_own(), **pages}


def outdated(made: Iterable[Path]) -> list[Path]:
    """Return the pages that would not be made any more."""
    return sorted(set(PAGES.glob("*.md")) - set(made) - _BY_HAND)


def _your_own() -> str:
    """Return the page written by hand with the tables of all words in it."""
    return _WORDS.sub(lambda _: f"\n{vocabulary()}\n", YOUR_OWN.read_text(encoding="utf-8"))
