"""A sample turned into an event that no handler was written for: a test must not change anybody's numbers unasked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ingest.adapters.base import Parsed, RefusedError
from ingest.adapters.declaration import Declaration, Events
from ingest.adapters.splitting import FORM
from tidegate.cli.payloads import Payload
from tidegate.errors import UsageError

TEST_TYPE = "tidegate.test"
"""No provider sends it."""

_Splits = Callable[[Payload], list[Parsed]]
"""Signs a payload as the provider would, and returns the events that the gate would find in it."""


def retyped(words: Declaration, sample: Payload, event_type: str, splits: _Splits) -> Payload | None:
    """Return ``sample``, one of ``event_type``, as an event of type TEST_TYPE; None where it cannot be made one.

    Whatever was changed in it, ``splits`` has to find nothing else: that, and no reading of the declaration, makes it sound.
    """
    for changed in _changed(words, sample, event_type):
        with suppress(UsageError, RefusedError):  # no longer a body of this provider
            events = splits(changed)
            if events and all(one.event_type == TEST_TYPE and one.malformed is None for one in events):
                return changed
    return None


def _changed(words: Declaration, sample: Payload, event_type: str) -> Iterator[Payload]:
    """Give ``sample`` with its type changed where the declaration says that it is, then wherever the text stands."""
    if words.code is None:
        places = _places(words.events)
        if places is not None:
            made = sample
            for alternatives, value in places:
                made = _set(words.events, made, alternatives, value)
            yield made
    headers = [(name, TEST_TYPE if value == event_type else value) for name, value in sample.headers]
    yield Payload(
        _in_body(words.events, replace(sample, headers=headers), lambda root: _swapped(root, event_type)), headers
    )


def _places(words: Events) -> list[tuple[list[str], str | None]] | None:
    """Return each value that the type is made of, its alternatives, and what it has to be; None: to be absent.

    None where no values make TEST_TYPE.
    """
    listed = [words.type] if isinstance(words.type, str) else list(words.type)
    needed = [text for text in listed if not text.endswith("?")] or listed[:1]
    parts = [TEST_TYPE] if len(needed) == 1 else TEST_TYPE.split(".")
    if len(needed) != len(parts) or (len(parts) > 1 and words.type_separator != "."):
        return None
    values = dict(zip(needed, parts, strict=True))
    return [([part.strip() for part in text.removesuffix("?").split(" | ")], values.get(text)) for text in listed]


def _set(words: Events, payload: Payload, alternatives: list[str], value: str | None) -> Payload:
    """Return ``payload`` with the first of ``alternatives`` that is in it set to ``value``; all of them, to take them out."""
    for text in alternatives:
        if text.startswith("header:"):
            name = text.removeprefix("header:").strip().lower()
            if any(borne.lower() == name for borne, _ in payload.headers):
                others = [pair for pair in payload.headers if pair[0].lower() != name]
                spelled = next(borne for borne, _ in payload.headers if borne.lower() == name)
                payload = replace(payload, headers=[*others, *([(spelled, value)] if value is not None else [])])
                if value is not None:
                    return payload
        elif not text.startswith(("query:", "=")) and text not in ("content", "arrival", "signed-time"):
            changes: list[bool] = []
            body = _in_body(words, payload, partial(_walked, words, text, value, changes))
            if changes:
                payload = replace(payload, body=body)
                if value is not None:
                    return payload
    return payload


def _in_body(words: Events, payload: Payload, change: Callable[[Any], Any]) -> bytes:
    """Return the body of ``payload`` with ``change`` made to its JSON, or to the fields of its form; as it was, if neither."""
    kind = next((value for name, value in payload.headers if name.lower() == "content-type"), "")
    with suppress(ValueError, RecursionError):
        if kind.partition(";")[0].strip().lower() == FORM:
            pairs = parse_qsl(payload.body.decode(), keep_blank_values=True)
            if words.form_field is not None:
                held = [
                    (name, json.dumps(change(json.loads(value))) if name == words.form_field else value)
                    for name, value in pairs
                ]
                return urlencode(held).encode()
            return urlencode(list(change(dict(pairs)).items())).encode()
        return json.dumps(change(json.loads(payload.body)), ensure_ascii=False).encode()
    return payload.body


def _walked(words: Events, text: str, value: str | None, changes: list[bool], root: Any) -> Any:
    """Set the path ``text`` in each event of ``root``, or in the whole of it, where it is there; note that it was."""
    found = [root] if text.startswith("$.") else _events(words, root)
    *steps, last = text.removeprefix("$.").split(".")
    for item in found:
        held = item
        for step in steps:
            held = _below(held, step)
        if isinstance(held, dict) and held.get(last) not in (None, ""):
            changes.append(True)
            if value is None:
                del held[last]
            else:
                held[last] = value
    return root


def _events(words: Events, root: Any) -> list[Any]:
    if words.batch != "one" and isinstance(root, list):
        return root
    found = [root]
    for name in words.items.split(".") if words.items else []:
        below = [_below(item, name) for item in found]
        found = [item for listed in below if isinstance(listed, list) for item in listed]
    return found


def _below(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    return None


def _swapped(value: Any, text: str) -> Any:
    """Return ``value`` with TEST_TYPE wherever ``text`` is the whole of a text in it."""
    if isinstance(value, dict):
        return {name: _swapped(held, text) for name, held in value.items()}
    if isinstance(value, list):
        return [_swapped(held, text) for held in value]
    return TEST_TYPE if value == text else value
