"""The JSON Schema of a declaration, for editors and for whoever checks rows without Python."""

from __future__ import annotations

import json
from typing import Any

from ingest.adapters.declaration import Declaration

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return the schema of a file in `ingest/providers`, and of a table [providers.NAME] in tidegate.toml."""
    made = _tidied(Declaration.model_json_schema(by_alias=True))
    return {
        "$schema": DIALECT,
        "$id": "urn:tidegate:provider",
        **made,
        "title": "Tidegate: how a provider sends its webhooks",
    }


def text() -> str:
    """Return the schema as the file holds it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _tidied(found: Any) -> Any:
    """Return ``found`` without what says nothing to the writer of TOML: there is no null, titles repeat the names."""
    if isinstance(found, list):
        return [_tidied(item) for item in found]
    if not isinstance(found, dict):
        return found
    kept = {name: _tidied(value) for name, value in found.items() if not _is_noise(name, value)}
    if isinstance(kept.get("description"), str):
        kept["description"] = " ".join(kept["description"].split())
    if "anyOf" in kept:
        rest = [option for option in kept["anyOf"] if option != {"type": "null"}]
        if len(rest) == 1:
            del kept["anyOf"]
            return rest[0] | kept
        kept["anyOf"] = rest
    return kept


def _is_noise(name: str, value: object) -> bool:
    # A property may itself be called title or default; its value is a schema then.
    return (name == "title" and isinstance(value, str)) or (
        name == "default" and (value is None or isinstance(value, dict))
    )
