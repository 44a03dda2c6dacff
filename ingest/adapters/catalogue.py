"""The providers there are: a declaration each, in `ingest/providers`."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from pydantic import ValidationError

from ingest.adapters.declaration import Declaration
from tidegate.errors import UsageError

_FOLDER = resources.files("ingest") / "providers"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")

_PLAINER = {
    "missing": "it is needed, and not there",
    "list_type": "it is a list: [...]",
    "model_type": 'it is a table: { word = "value" }',
}
"""What pydantic says in the words of its own library."""


@cache
def names() -> tuple[str, ...]:
    """Return the names of the providers that Tidegate brings, in order."""
    return tuple(sorted(file.name.removesuffix(".toml") for file in _FOLDER.iterdir() if file.name.endswith(".toml")))


@cache
def declaration(name: str) -> Declaration:
    """Return the declaration of a provider that Tidegate brings; raise UsageError where there is none of this name."""
    return read(name, _raw(name))


@cache
def _raw(name: str) -> Mapping[str, Any]:
    if name not in names():
        raise unknown(name, names())
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def find(name: str, own: Mapping[str, Mapping[str, Any]], changes: Mapping[str, Any]) -> Declaration:
    """Return the declaration of ``name`` (`_` may stand for `-`), one of the user's ``own`` before one of ours.

    ``changes`` are words that a source says otherwise: they go over those of the declaration, table by table.
    """
    proper = proper_name(name, own)
    if not changes and proper not in own:
        return declaration(proper)
    return read(name, _over(own[proper] if proper in own else _raw(proper), changes))


def proper_name(name: str, own: Iterable[str] = ()) -> str:
    """Return ``name`` as it is declared; raise UsageError where there is no such provider."""
    known = [*own, *names()]
    for spelled in (name, name.lower().replace("_", "-")):
        if spelled in known:
            return spelled
    raise unknown(name, known)


def unknown(name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a provider that nobody declares."""
    listed = sorted(set(known))
    near = difflib.get_close_matches(name.lower().replace("_", "-"), listed, cutoff=0.5)
    hint = f": did you mean {' or '.join(near)}?" if near else ""
    return UsageError(
        f"unknown provider {name!r}{hint} (`tidegate providers` lists all {len(listed)}; your own is declared in "
        "[providers.NAME])"
    )


def read(name: str, raw: Mapping[str, Any]) -> Declaration:
    """Return the declaration in ``raw``; raise UsageError that says what is wrong, a line each."""
    if not _NAME.fullmatch(name.replace("_", "-")):
        raise UsageError(f"provider {name!r}: a name is made of small letters, digits and dashes")
    try:
        return Declaration.model_validate(raw)
    except ValidationError as error:
        raise UsageError("\n".join(_explained(name, item) for item in _meant(error.errors(), raw))) from None


def _meant(items: Sequence[Any], raw: Mapping[str, Any]) -> Iterator[Any]:
    """Leave out what is said of an alternative nobody wrote: a signature's table is not wrong for being no list of them."""
    is_list = isinstance(raw.get("signature"), list)
    for item in items:
        where = item["loc"]
        if where[:1] != ("signature",) or len(where) == 1 or str(where[1]).startswith("list") == is_list:
            yield item


def _explained(name: str, item: Any) -> str:
    # Of alternatives (a signature or several) the type is part of where it is, and tells nobody anything.
    parts = [str(part) for part in item["loc"] if str(part) not in ("Signature",) and "[" not in str(part)]
    where = ".".join(["providers", name, *parts])
    if item["type"] == "extra_forbidden":
        return f"{where}: there is no such word{_nearest(parts)}"
    if item["type"] in _PLAINER:
        return f"{where}: {_PLAINER[item['type']]}"
    if item["type"] == "literal_error":
        near = difflib.get_close_matches(str(item["input"]).lower(), re.findall(r"'([^']+)'", str(item["msg"])), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{where}: {str(item['msg']).replace('Input should be', 'it is')}{hint}"
    return f"{where}: {str(item['msg']).removeprefix('Value error, ')}"


def _nearest(parts: list[str]) -> str:
    known = sorted({word for found in _tables() for word in found})
    near = difflib.get_close_matches(parts[-1], known, n=1, cutoff=0.6) if parts else []
    return f": did you mean {near[0]!r}?" if near else ""


def _tables() -> Iterable[Iterable[str]]:
    schema = Declaration.model_json_schema()
    yield schema["properties"]
    for found in schema["$defs"].values():
        yield found["properties"]


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for name, value in above.items():
        held = found.get(name)
        found[name] = _over(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return found
