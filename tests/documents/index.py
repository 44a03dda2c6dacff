"""The list of all providers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ingest.adapters.declaration import Declaration
from tests.documents.templates import TEMPLATES
from tidegate.cli import wording

_ORDER = ("sdk", "published", "documented")


def index(declared: Mapping[str, Declaration]) -> str:
    """Return the Markdown of the list."""
    counted = Counter(str(words.evidence) for words in declared.values())
    rows = [
        (name, words.title or name, wording.verified(words), words.evidence)
        for name, words in sorted(declared.items(), key=lambda item: (item[1].title or item[0]).lower())
    ]
    legend = [(name, counted[name], wording.EVIDENCE[name]) for name in _ORDER]
    return TEMPLATES.get_template("index.md.j2").render(rows=rows, legend=legend)
