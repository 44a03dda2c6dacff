"""Every word of a declaration with its type, default and meaning: the tables of `docs/providers/your-own.md`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.documents.schema import schema
from tests.documents.sentences import code

_TABLES = {
    "Signature": ("[providers.NAME.signature]", "or `[[providers.NAME.signature]]`, where one of several counts"),
    "Timestamp": ("[providers.NAME.timestamp]", ""),
    "Events": ("[providers.NAME.events]", ""),
    "Answers": ("[providers.NAME.answers]", ""),
    "Handshake": ("[[providers.NAME.handshakes]]", "one for each kind"),
    "Sample": ("[[providers.NAME.samples]]", "one for each event type"),
}


def vocabulary() -> str:
    """Return the tables as Markdown."""
    found = schema()
    tables = [("[providers.NAME]", "", found)]
    tables += [(*_TABLES.get(name, (name, "")), table) for name, table in _in_order(found["$defs"])]
    return "\n".join(_table(heading, note, table) for heading, note, table in tables)


def _in_order(tables: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    known = [name for name in _TABLES if name in tables]
    for name in [*known, *sorted(set(tables) - set(known))]:
        yield name, tables[name]


def _table(heading: str, note: str, table: dict[str, Any]) -> str:
    needed = table.get("required", [])
    rows = [
        f"| `{name}` | {_type(word)} | {_default(name, word, needed)} | {_meaning(word)} |"
        for name, word in table["properties"].items()
    ]
    said = [f"### `{heading}`", "", f"{note[0].upper()}{note[1:]}." if note else "", ""]
    return "\n".join(
        [*(said if note else said[:2]), "| word | type | default | meaning |", "|---|---|---|---|", *rows, ""]
    )


def _type(word: dict[str, Any]) -> str:
    if "enum" in word:
        return ", ".join(map(code, word["enum"]))
    if "anyOf" in word:
        return " or ".join(map(_type, word["anyOf"]))
    if "$ref" in word:
        return "table"
    kind = word.get("type")
    if kind == "array":
        inner = word["items"]
        return "list of tables" if "$ref" in inner else f"list of {_type(inner)}s"
    if kind == "object":
        return f"table of {_type(word['additionalProperties'])}s"
    if kind == "integer":
        low, high = word.get("minimum"), word.get("maximum")
        return (
            f"number, {low} to {high}"
            if high is not None
            else f"number, at least {low}"
            if low is not None
            else "number"
        )
    return {"string": "text", "boolean": "true or false", "number": "number"}.get(str(kind), str(kind))


def _default(name: str, word: dict[str, Any], needed: list[str]) -> str:
    if name in needed:
        return "needed"
    default = word.get("default")
    if default in (None, [], {}, ""):
        return ""
    return code(json.dumps(default, ensure_ascii=False))


def _meaning(word: dict[str, Any]) -> str:
    return str(word.get("description", "")).replace("|", "\\|").replace("<", "&lt;")
