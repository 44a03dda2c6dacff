"""Values of declarations, compiled: where something is found in a request, as a function."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ingest.adapters.base import Request
from ingest.adapters.limits import identifier

_PARAMETERS_MAX = 1000


class WrongWordError(ValueError):
    """The declaration says something that means nothing; the message says what."""


@dataclass(slots=True)
class Context:
    """What a value is looked for in: the request, its whole body, one event of it and that event's bytes."""

    request: Request
    root: Any = None
    item: Any = None
    payload: bytes = b""
    signed_time: str | None = None


Value = Callable[[Context], Any]
"""Returns what is there, None where nothing is."""


def compiled(text: str) -> Value:
    """Return the value that ``text`` says; raise WrongWordError where it says none."""
    found = [_one(part.strip()) for part in text.split(" | ")]
    if len(found) == 1:
        return found[0]

    def first(context: Context) -> Any:
        for value in found:
            held = value(context)
            if held is not None and held != "":
                return held
        return None

    return first


def joined(texts: str | Sequence[str], separator: str) -> Callable[[Context], str | None]:
    """Return the text made of several values; it is None where one that may not be absent is.

    Only texts and integers count: what is an object or a list names nothing.
    """
    each = [texts] if isinstance(texts, str) else list(texts)
    parts = [(compiled(text.removesuffix("?").strip()), text.endswith("?")) for text in each]

    def together(context: Context) -> str | None:
        found = []
        for value, may_be_absent in parts:
            named = identifier(value(context))
            if named is not None:
                found.append(named)
            elif not may_be_absent:
                return None
        return separator.join(found) or None

    return together


def _one(text: str) -> Value:
    if not text:
        raise WrongWordError("a value is empty")
    if text == "content":
        return lambda context: "sha256:" + hashlib.sha256(context.payload).hexdigest()
    if text == "arrival":
        # Where two events may be the same to the last byte, to store a repetition twice is better than to lose the second one.
        return lambda context: f"arrival:{uuid.uuid4()}"
    if text == "signed-time":
        return lambda context: context.signed_time
    if text.startswith("="):
        literal = text[1:]
        return lambda context: literal
    if text.startswith("header:"):
        name = text.removeprefix("header:").strip().lower()
        return lambda context: context.request.header(name)
    if text.startswith("query:"):
        parameter = text.removeprefix("query:").strip()
        return lambda context: query(context.request.url).get(parameter)
    if text.startswith("$."):
        from_root = path(text[2:])
        return lambda context: from_root(context.root)
    from_item = path(text)
    return lambda context: from_item(context.item)


def query(url: str) -> Mapping[str, str]:
    """Return the parameters of ``url``; of one that is repeated none, since two readers could take different ones."""
    found: dict[str, str] = {}
    repeated = set()
    for name, value in parameters(url):
        if name in found:
            repeated.add(name)
        found[name] = value
    return {name: value for name, value in found.items() if name not in repeated}


def parameters(url: str) -> list[tuple[str, str]]:
    """Return the parameters of ``url`` in order; none of a URL that cannot be read, or has too many."""
    try:
        return parse_qsl(urlsplit(url).query, keep_blank_values=True, max_num_fields=_PARAMETERS_MAX)
    except ValueError:
        return []


def path(text: str) -> Callable[[Any], Any]:
    """Return what walks down ``text``, names and list positions joined by dots; None where it ends nowhere."""
    steps = text.split(".")
    if not all(steps) or any(mark in text for mark in "|?{}"):
        raise WrongWordError(f"{text!r} is no path: names joined by dots are")

    def walk(value: Any) -> Any:
        for step in steps:
            if isinstance(value, dict):
                value = value.get(step)
            elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
                value = value[int(step)]
            else:
                return None
        return value

    return walk
