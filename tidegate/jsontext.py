"""JSON as providers really send it: any valid text is read, whatever its numbers, and elements keep their bytes.

The standard library's scanner is used because it tells where each element ends (so that one element of an array keeps
its exact bytes) and because it accepts all that RFC 8259 does, lone surrogate escapes included. Two things it does
beyond the RFC are undone: NaN and Infinity are refused; integers above 4300 digits, which it refuses, become Decimal.
"""

from __future__ import annotations

import json
import re
import threading
from decimal import Decimal
from itertools import accumulate
from typing import Any, NamedTuple, NoReturn


class NotJsonError(ValueError):
    """The bytes are not one JSON text. The message names the kind of fault and never quotes the text."""


def _refuse_constant(name: str) -> NoReturn:
    raise NotJsonError(f"{name} is not JSON")


def _any_integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits.lstrip("-")) <= 4300 else Decimal(digits)


_Decoders = tuple[json.JSONDecoder, json.JSONDecoder]


def _decoders(**options: Any) -> _Decoders:
    """Return a fast one, and one for what that refuses: integers of more than 4300 digits."""
    return (
        json.JSONDecoder(parse_constant=_refuse_constant, **options),
        json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_any_integer, **options),
    )


class _Latest(threading.local):
    """The members of the object that was read last: after a whole text, those of the outermost."""

    members: list[tuple[str, Any]] | None = None


def _keep(members: list[tuple[str, Any]]) -> None:
    _latest.members = members


_latest = _Latest()
_WHOLE = _decoders()
_NO_OBJECTS = _decoders(object_pairs_hook=lambda _: None)
"""Objects become None."""
_SHALLOW = _decoders(object_pairs_hook=_keep)
"""Objects become None, save for the outermost: held all at once, the small ones that 2 MiB may consist of take 30 MiB."""
_SPACE = re.compile(r"[ \t\n\r]*")
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_AFTER = re.compile(r"[ \t\n\r]*([,\]}]?)[ \t\n\r]*")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _scan(text: str, start: int, decoders: _Decoders = _WHOLE) -> tuple[Any, int]:
    fast, exact = decoders
    try:
        try:
            return fast.raw_decode(text, start)
        except (json.JSONDecodeError, NotJsonError):
            raise
        except ValueError:  # an integer of more than 4300 digits
            return exact.raw_decode(text, start)
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
    return _whole(_text(raw), _WHOLE)


def _whole(text: str, decoders: _Decoders) -> Any:
    value, end = _scan(text, _skip(text, 0), decoders)
    if _skip(text, end) != len(text):
        raise NotJsonError(f"extra data at character {end}")
    return value


class TooManyError(ValueError):
    """The array has more elements than were asked for."""


def elements(raw: bytes, *, count_max: int | None = None) -> list[tuple[Any, bytes]]:
    """Return the value and the exact bytes of each element of the JSON array ``raw``.

    Raises NotJsonError when ``raw`` is not one JSON array, and TooManyError at the element after ``count_max``: to walk
    over a million of them takes seconds.
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
            if len(found) == count_max:
                raise TooManyError(f"more than {count_max} elements")
            found.append((value, text[at:end].encode()))
            mark, at = _after(text, end)
            if mark == "]":
                break
            if mark != ",":
                raise NotJsonError(f"expected ',' or ']' at character {end}")
    if _skip(text, at) != len(text):
        raise NotJsonError(f"extra data at character {at}")
    return found


def member(raw: bytes, name: str) -> bytes | None:
    """Return the bytes of the value of the member ``name`` of the JSON object ``raw``, None where it has none.

    Of a member that is repeated the last one counts, as everywhere. Raises NotJsonError when ``raw`` is not one JSON object.
    """
    text = _text(raw)
    found = None
    for held in _members(text):
        if held.name == name:
            found = held
    return None if found is None else text[found.value_start : found.end].encode()


class Cut(NamedTuple):
    """An object less one of its members: the other members, the values of that one, and the bytes left.

    Objects inside it are left out: where one stands in ``others`` or ``values`` there is None.
    """

    others: dict[str, Any]
    values: list[Any]
    rest: bytes


def cut(raw: bytes, name: str) -> Cut:
    """Cut the member ``name`` (plain ASCII) out of the JSON object ``raw``; all other bytes stay as they are.

    ``values`` is empty when there is no such member and longer than one when it is repeated. Members of nested objects
    are left alone. Raises NotJsonError when ``raw`` is not one JSON object.
    """
    text = _text(raw)
    # Walking an object in Python costs eight times what parsing it in C does.
    if _is_there_once_at_most(text, name):
        value = dict(_top(text))
        if name not in value:
            return Cut(value, [], raw)
        quoted = f'"{name}"'
        return Cut(value, [value.pop(name)], _less_one(text, text.index(quoted), len(quoted)).encode())
    members = _members(text)
    others = {member.name: member.value for member in members if member.name != name}
    values = [member.value for member in members if member.name == name]
    return Cut(others, values, _less(text, members, name).encode() if values else raw)


def values(raw: bytes, name: str) -> list[Any]:
    """Return ``cut(raw, name).values`` at the price of parsing alone: for bodies of whom we do not know yet.

    Objects in them are left out, as None. Raises NotJsonError when ``raw`` is not one JSON object.
    """
    return [held for named, held in _top(_text(raw)) if named == name]


class Members(list[tuple[str, Any]]):
    """The members of an object, in order, those that are repeated as well."""


class Holding:
    """Reads JSON of which only objects with a member called ``name`` matter: all others become None.

    For bodies of whom we do not know yet: what nobody will look at is not held.
    """

    def __init__(self, name: str) -> None:
        def kept(members: list[tuple[str, Any]]) -> Members | None:
            for named, _ in members:
                if named == name:
                    return Members(members)
            return None

        self._decoders = _decoders(object_pairs_hook=kept)

    def loads(self, raw: bytes) -> Any:
        """Return the value of the JSON text ``raw``, its objects as Members; raise NotJsonError when it is not one."""
        return _whole(_text(raw), self._decoders)


def _top(text: str) -> list[tuple[str, Any]]:
    """Return the members of the JSON object ``text``, objects in them as None."""
    _latest.members = None  # what was kept of another text must not be taken for this one's
    try:
        # A null is None too.
        if _whole(text, _SHALLOW) is not None or _latest.members is None:
            raise NotJsonError("not an object")
        return _latest.members
    finally:
        _latest.members = None


def _is_there_once_at_most(text: str, name: str) -> bool:
    """Tell whether the member ``name`` cannot stand twice. Without a \\u there is no other spelling of it."""
    return text.count(f'"{name}"') < 2 and "\\u" not in text


def _less_one(text: str, start: int, name_length: int) -> str:
    colon = _COLON.match(text, start + name_length)
    assert colon is not None
    _, end = _scan(text, colon.end(), _NO_OBJECTS)
    mark, following = _after(text, end)
    if mark == ",":
        return text[:start] + text[following:]
    before = text[:start].rstrip(" \t\n\r")
    if before.endswith(","):
        return before[:-1].rstrip(" \t\n\r") + text[end:]
    return text[:start] + text[end:]


def _less(text: str, members: list[_Member], name: str) -> str:
    parts = [text[: members[0].start]]
    before: int | None = None
    for member in members:
        if member.name != name:
            if len(parts) > 1:
                parts.append(text[before : member.start])  # the comma and the space between two members
            parts.append(text[member.start : member.end])
        before = member.end
    parts.append(text[before:])
    return "".join(parts)


class _Member(NamedTuple):
    name: str
    value: Any
    start: int
    end: int
    value_start: int


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
            colon = _COLON.match(text, end)
            if colon is None:
                raise NotJsonError(f"expected ':' at character {end}")
            value, end = _scan(text, colon.end(), _NO_OBJECTS)
            found.append(_Member(name, value, at, end, colon.end()))
            mark, at = _after(text, end)
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


def _after(text: str, at: int) -> tuple[str, int]:
    """Return the mark that follows a value and where what follows the mark begins."""
    match = _AFTER.match(text, at)
    return (match[1], match.end()) if match else ("", at)


_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_MARKS = bytes(sorted(set(range(256)) - set(b'[]{}"')))
_STEPS = {"[": 1, "]": -1}
_ROUNDS = 3
"""Of taking the innermost away before the rest is counted: a round costs little, and one for each level a second."""


def is_deeper(raw: bytes, depth_max: int) -> bool:
    """Tell whether arrays and objects in ``raw`` are nested deeper than ``depth_max``. Of text that is no JSON: roughly.

    To be asked before anything walks down into it: what the parser here still reads may exhaust the stack later. Every
    step runs in C: a loop over the brackets of 2 MiB would stand still for a second.
    """
    if raw.count(b"[") + raw.count(b"{") <= depth_max:
        return False  # nearly always
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")  # now each quote begins or ends a string
    marks = plain.translate(_TO_SQUARE, _NO_MARKS).decode("ascii")  # joining pieces of bytes takes 80 bytes each
    # Two quotes side by side are a string without brackets, or lie between two strings: either way all else stays as it is.
    brackets = "".join(marks.replace('""', "").split('"')[::2])
    for _ in range(min(_ROUNDS, depth_max)):
        brackets = brackets.replace("[]", "")  # the innermost of each nest, and most of what there is
        depth_max -= 1
    if "[" * (depth_max + 1) in brackets:
        return True
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > depth_max


def storable(text: str) -> str:
    """Return ``text`` as Postgres can store it: NUL and lone surrogates become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\ufffd")


def is_storable(text: str) -> bool:
    """Tell whether Postgres can store ``text`` as it is: no NUL, no lone surrogate."""
    return _UNSTORABLE.search(text) is None
