"""A verified body, cut into events as a declaration says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from ingest.adapters import values
from ingest.adapters.base import Parsed, RefusedError, Request, content_id
from ingest.adapters.clock import digits, epoch_ms, iso_ms
from ingest.adapters.declaration import Events
from ingest.adapters.limits import bounded, event_type, key
from ingest.adapters.values import Context
from tidegate import jsontext

ELEMENTS_MAX = 10_000
"""No provider sends a tenth. A million of the shortest fit into a body, and would keep all others waiting."""
FIELDS_MAX = 1000
_FAULT_CHARS_MAX = 150
"""Of what is said to be missing: some providers' ids are sought in ten places, and it is to be one line in a terminal."""
_SECONDS_MAX = 100_000_000_000
"""Smaller numbers are Unix seconds (until the year 5138), larger ones milliseconds (since 1973)."""

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class _Without:
    """Stands for the events that should be under ``name``."""

    name: str


class Splitter:
    """The events of a provider's requests."""

    def __init__(self, words: Events) -> None:
        self._words = words
        self._id = values.joined(words.id, ":")
        self._type_parts = [values.compiled(text.removesuffix("?")) for text in _listed(words.type)]
        self._type = values.joined(words.type, words.type_separator)
        self._moments = [values.compiled(text) for text in words.occurred_at.split(" | ")] if words.occurred_at else []
        self._keys = [_key(text) for text in _listed(words.key)]
        self._items = words.items.split(".") if words.items else []

    def split(self, request: Request, body: bytes, signed_time: Callable[[], str | None]) -> list[Parsed]:
        """Return the events in ``body``, that of ``request`` without its secret; raise RefusedError where there is none."""
        try:
            root, found = self._found(request, body)
        except jsontext.NotJsonError as error:
            raise RefusedError("malformed_body", str(error)) from None
        except jsontext.TooManyError as error:
            raise RefusedError("too_many_events", str(error)) from None
        when = signed_time()
        return [
            self._event(Context(request, root, item, payload, when), alone=found[0][0] is root)
            for item, payload in found
        ]

    def _found(self, request: Request, body: bytes) -> tuple[Any, Sequence[tuple[Any, bytes]]]:
        """Return the whole body, and each event with its bytes."""
        if self._words.body == "form" and is_form(request):
            if body.lstrip(b" \t\r\n")[:1] in (b"{", b"["):
                # The type is not signed. Read as a form, a text in somebody's JSON, `&payload=...`, would be the event.
                raise RefusedError("malformed_body", "JSON, and the Content-Type says that it is a form")
            body = self._of_form(body)
        is_array = body.lstrip(b" \t\r\n").startswith(b"[")
        if self._words.batch == "array" or (self._words.batch == "either" and is_array):
            return None, jsontext.elements(body, count_max=ELEMENTS_MAX)
        root = jsontext.loads(body)
        if not isinstance(root, dict):
            raise RefusedError("malformed_body", "not an object: this provider sends one")
        if not self._items:
            return root, [(root, body)]
        return root, list(_below(body, self._items))

    def _of_form(self, body: bytes) -> bytes:
        """Return the JSON that a form holds, or that it becomes."""
        fields = form(body)
        if self._words.form_field is not None:
            held = [value for name, value in fields if name == self._words.form_field]
            if len(held) != 1:
                raise RefusedError("malformed_body", f"the form holds not one field {self._words.form_field}")
            return held[0].encode()
        return json.dumps(gathered(fields), ensure_ascii=False).encode()

    def _event(self, context: Context, *, alone: bool) -> Parsed:
        """Return one event. One of several that is none comes back with ``malformed`` set, for its neighbours' sake."""
        if isinstance(context.item, _Without):
            missing = f"there is no list {context.item.name} in it, where this provider's events are"
            return Parsed(content_id(context.payload), "", None, "", context.payload, malformed=missing)
        if not isinstance(context.item, dict):
            return Parsed(content_id(context.payload), "", None, "", context.payload, malformed="not an object")
        kind, fault = self._kind(context)
        named = self._id(context)
        if named is None:
            missing = f"it has no id, by which to know it when it is sent again: events.id is {_said(self._words.id)}"
            missing = missing[:_FAULT_CHARS_MAX]
            if alone:
                raise RefusedError("no_event_id", missing)
            return Parsed(content_id(context.payload), kind, None, "", context.payload, malformed=missing)
        return Parsed(
            provider_event_id=bounded(named),
            event_type=kind,
            occurred_at_ms=self._occurred_at_ms(context),
            key=next(filter(None, (found(context, kind) for found in self._keys)), ""),
            payload=context.payload,
            malformed=fault,
        )

    def _occurred_at_ms(self, context: Context) -> int | None:
        for moment in self._moments:
            found = moment_ms(moment(context))
            if found is not None:
                return found
        return None

    def _kind(self, context: Context) -> tuple[str, str | None]:
        """Return the type, `unknown` where there is none, and what is wrong with it."""
        kind = event_type(self._type(context))
        if kind is not None:
            return kind, None
        if all(part(context) is None for part in self._type_parts):
            return "unknown", None
        return "unknown", "type is not the name of a type"


def form(body: bytes) -> list[tuple[str, str]]:
    """Return the fields of an url-encoded body, in order; raise RefusedError(malformed_body) where it is none."""
    try:
        return parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            strict_parsing=False,
            errors="strict",
            max_num_fields=FIELDS_MAX,
        )
    except ValueError:  # not UTF-8, or too many fields
        raise RefusedError("malformed_body", f"no form in UTF-8 with at most {FIELDS_MAX} fields") from None


def gathered(fields: Sequence[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Return ``fields`` as an object of texts, lists where a name occurs twice."""
    found: dict[str, str | list[str]] = {}
    for name, value in fields:
        before = found.get(name)
        if before is None:
            found[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            found[name] = [before, value]
    return found


def moment_ms(value: object) -> int | None:
    """Return the Unix milliseconds of a moment as providers write it, None where it is none."""
    if isinstance(value, str):
        number = digits(value)
        if number is None:
            return iso_ms(value)
        value = number
    if isinstance(value, float):
        value = int(value * 1000) if abs(value) < _SECONDS_MAX else int(value) if abs(value) < 1e15 else None
        return epoch_ms(value)
    if type(value) is int:
        return epoch_ms(value * 1000 if value < _SECONDS_MAX else value)
    return None


def is_form(request: Request) -> bool:
    """Tell whether ``request`` says that its body is url-encoded."""
    types = request.values("content-type")
    return bool(types) and types[0].partition(";")[0].strip().lower() == FORM


def _below(body: bytes, names: Sequence[str]) -> Iterator[tuple[Any, bytes]]:
    """Give each event under ``names`` with its bytes.

    An object that holds no such list is given as it is, for a letter: its shape has changed, and nobody else would notice.
    """
    held = jsontext.member(body, names[0])
    if held is None:
        if body.strip(b" \t\r\n{}"):  # an empty object is a sign of life
            yield _Without(names[0]), body
        return
    if len(names) > 1 and held.startswith(b"{"):
        yield from _below(held, names[1:])
        return
    found = jsontext.elements(held, count_max=ELEMENTS_MAX)
    if len(names) == 1:
        yield from found
        return
    for value, payload in found:
        if isinstance(value, dict):
            yield from _below(payload, names[1:])


def _listed(texts: str | Sequence[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)


def _said(texts: str | Sequence[str]) -> str:
    return " and ".join(text.replace(" | ", ", else ") for text in _listed(texts))


def _key(text: str) -> Callable[[Context, str], str]:
    """Return what finds a key by ``text``, noun and value; `*` in it is what the type begins with."""
    noun, colon, value = text.partition(":")
    if not colon or not noun or not value:
        raise values.WrongWordError(f"key {text!r} is not a noun and a value, as in customer:data.customer")
    if "*" not in text:
        found = values.compiled(value)
        return lambda context, kind: key(noun, found(context))
    if value.startswith(("header:", "query:")):
        raise values.WrongWordError(f"key {text!r}: * stands in paths")

    def starred(context: Context, kind: str) -> str:
        stem = kind.partition(".")[0]
        held: Any = context.item
        for step in value.split("."):
            held = held.get(step.replace("*", stem)) if isinstance(held, dict) else None
        return key(noun.replace("*", stem), held)

    return starred
