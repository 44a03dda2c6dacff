"""JSON as providers really send it: any valid text is read, whatever its numbers, and elements keep their bytes.

The standard library's scanner is used because it tells where each element ends (so that one element of an array keeps
its exact bytes) and because it accepts all that RFC 8259 does, lone surrogate escapes included. Two things it does
beyond the RFC are undone: NaN and Infinity are refused; integers above 4300 digits, which it refuses, become Decimal.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, NamedTuple, NoReturn


class NotJsonError(ValueError):
    """The bytes are not one JSON text. The message names the kind of fault and never quotes the text."""


def _refuse_constant(name: str) -> NoReturn:
    raise NotJsonError(f"{name} is not JSON")


def _any_integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= 4300 else Decimal(digits)


_FAST = json.JSONDecoder(parse_constant=_refuse_constant)
_EXACT = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_any_integer)
_SPACE = re.compile(r"[ \t\n\r]*")


def _scan(text: str, start: int) -> tuple[Any, int]:
    try:
        try:
            return _FAST.raw_decode(text, start)
        except (json.JSONDecodeError, NotJsonError):
            raise
        except ValueError:  # an integer of more than 4300 digits
            return _EXACT.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise NotJsonError(f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise NotJsonError("nested too deeply") from None


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJsonError(f"not UTF-8 at byte {error.start}") from None


def loads(raw: bytes) -> Any:
    """Return the value of the JSON text ``raw``; raise NotJsonError when it is not exactly one."""
    text = _text(raw)
    value, end = _scan(text, _skip(text, 0))
    if _skip(text, end) != len(text):
        raise NotJsonError(f"extra data at character {end}")
    return value


def elements(raw: bytes) -> list[tuple[Any, bytes]]:
    """Return the value and the exact bytes of each element of the JSON array ``raw``.

    Raises NotJsonError when ``raw`` is not one JSON array.
    """
    text = _text(raw)
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise NotJsonError("not an array")
    found: list[tuple[Any, bytes]] = []
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        at += 1
    else:
        while True:
            value, end = _scan(text, at)
            found.append((value, text[at:end].encode()))
            at = _skip(text, end)
            mark, at = text[at : at + 1], _skip(text, at + 1)
            if mark == "]":
                break
            if mark != ",":
                raise NotJsonError(f"expected ',' or ']' at character {end}")
    if _skip(text, at) != len(text):
        raise NotJsonError(f"extra data at character {at}")
    return found


class Cut(NamedTuple):
    """An object less one of its members: the other members, the values of that one, and the bytes left."""

    others: dict[str, Any]
    values: list[Any]
    rest: bytes


def cut(raw: bytes, name: str) -> Cut:
    """Cut the member ``name`` out of the JSON object ``raw``; all other bytes stay as they are.

    ``values`` is empty when there is no such member and longer than one when it is repeated. Members of nested objects
    are left alone. Raises NotJsonError when ``raw`` is not one JSON object.
    """
    text = _text(raw)
    members = _members(text)
    others = {member.name: member.value for member in members if member.name != name}
    values = [member.value for member in members if member.name == name]
    if not values:
        return Cut(others, values, raw)
    parts = [text[: members[0].start]]
    before: int | None = None
    for member in members:
        if member.name != name:
            if len(parts) > 1:
                parts.append(text[before : member.start])  # the comma and the space between two members
            parts.append(text[member.start : member.end])
        before = member.end
    parts.append(text[before:])
    return Cut(others, values, "".join(parts).encode())


class _Member(NamedTuple):
    name: str
    value: Any
    start: int
    end: int


def _members(text: str) -> list[_Member]:
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise NotJsonError("not an object")
    found: list[_Member] = []
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        at += 1
    else:
        while True:
            if text[at : at + 1] != '"':
                raise NotJsonError(f"expected a member's name at character {at}")
            name, end = _scan(text, at)
            colon = _skip(text, end)
            if text[colon : colon + 1] != ":":
                raise NotJsonError(f"expected ':' at character {colon}")
            value, end = _scan(text, _skip(text, colon + 1))
            found.append(_Member(name, value, at, end))
            at = _skip(text, end)
            mark, at = text[at : at + 1], _skip(text, at + 1)
            if mark == "}":
                break
            if mark != ",":
                raise NotJsonError(f"expected ',' or '}}' at character {end}")
    if _skip(text, at) != len(text):
        raise NotJsonError(f"extra data at character {at}")
    return found


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def storable(text: str) -> str:
    """Return ``text`` as Postgres can store it: NUL and lone surrogates become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\ufffd")


def is_storable(text: str) -> bool:
    """Tell whether Postgres can store ``text`` as it is: no NUL, no lone surrogate."""
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
