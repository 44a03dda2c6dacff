"""tidegate.jsontext: reads what is JSON, refuses what is not, and changes no byte of what it hands on."""

from __future__ import annotations

import re
from typing import Any

from tests.fuzz import reference
from tests.fuzz.target import Target, expect
from tidegate import jsontext

WORDS = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b'"":', b"\\", b'\\"', b"\\\\", b"\\u", b"\\u0000", b"\\ud800", b"\\udc00", b"null",
    b"true", b"false", b"NaN", b"Infinity", b"-Infinity", b"-0", b"1e999", b"1.5", b"0.1e-7", b" ", b"\n", b"\r\n", b"\t",
    b"\xef\xbb\xbf", b"\xc2\xa0", b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"7" * 40, b'"secret"',
    b'"\\u0073ecret"', b'"secret":1,',
)  # fmt: skip
_DOCUMENTS = (
    b'{"a":1,"b":[true,false,null],"c":{"d":"e\\u00e9\\n\\ud83d\\ude00"},"f":-1.5e-7}',
    b'\n{\n  "a" : "x",\n\t"b": [ ]\r\n}\n',
    b'{"a":1,"a":2,"\\u0061":3}',
    b"[1, 2.0, [3], {}]",
    b'"text"',
    b"-0",
    b"null",
    b"[NaN]",
    b"[1,]",
    '["\u00e9\u2028\U0001f600"]'.encode(),
    b'["\\ud800"]',
    b"[" * 60 + b"]" * 60,
    b"[%s]" % (b"7" * 4400),
)
_NOT_JSON = object()
_MESSAGE = re.compile(r"[A-Za-z8\\ ',\[\]{}:\"-]{5,60}( at (character|byte) [0-9]+)?")


def _refusal(error: jsontext.NotJsonError, raw: bytes) -> None:
    expect(_MESSAGE.fullmatch(str(error)) is not None, f"a message names the fault and quotes nothing: {error}")
    expect(error.__context__ is None or error.__suppress_context__, "no traceback may show the text")


def loads(raw: bytes) -> None:
    """What the reference reads is read, as the same values; what it refuses is refused."""
    try:
        expected = reference.plain(reference.read(raw))
    except reference.TooDeepError:
        return
    except reference.NotJsonError:
        expected = _NOT_JSON
    try:
        found = jsontext.loads(raw)
    except jsontext.NotJsonError as error:
        expect(expected is _NOT_JSON, f"JSON is read: {error}")
        _refusal(error, raw)
    else:
        expect(expected is not _NOT_JSON, "what is not JSON is refused")
        expect(reference.same(found, expected), f"read as {found!r}, and is {expected!r}")


def elements(raw: bytes) -> None:
    """The elements of an array are its values, and their bytes stand in it in that order, with nothing else between."""
    try:
        expected = reference.plain(reference.read(raw))
    except reference.TooDeepError:
        return
    except reference.NotJsonError:
        expected = None
    try:
        found = jsontext.elements(raw)
    except jsontext.NotJsonError as error:
        expect(not isinstance(expected, list), f"an array is read: {error}")
        _refusal(error, raw)
        return
    expect(isinstance(expected, list), "what is no array is refused")
    expect(reference.same([value for value, _ in found], expected), "the values are those of the array")
    at = 0
    for value, exact in found:
        start = raw.index(exact, at)
        expect(not raw[at:start].strip(b"[, \t\r\n"), "between two elements is a comma and space")
        expect(reference.same(jsontext.loads(exact), value), "the bytes of an element are its value again")
        at = start + len(exact)
    expect(raw[at:].translate(None, b" \t\r\n") in (b"]", b"[]"), "after the last element the array ends")


def cut(raw: bytes) -> None:
    """What is left of an object is an object of the other members, byte for byte as they were."""
    try:
        held = reference.read(raw)
    except reference.TooDeepError:
        return
    except reference.NotJsonError:
        held = None
    try:
        found = jsontext.cut(raw, "secret")
    except jsontext.NotJsonError as error:
        expect(not isinstance(held, reference.Members), f"an object is read: {error}")
        _refusal(error, raw)
        return
    expect(isinstance(held, reference.Members), "what is no object is refused")
    quickly = jsontext.values(raw, "secret")
    expect(len(quickly) == len(found.values), "both ways to the values find as many")
    for quick, thorough in zip(quickly, found.values, strict=True):
        expect(reference.same(quick, thorough), "both ways to the values find the same")
    others = reference.Members((name, value) for name, value in held if name != "secret")
    values: list[Any] = [reference.shallow(value) for name, value in held if name == "secret"]
    shown = {name: reference.shallow(value) for name, value in others}
    expect(reference.same(found.values, values), f"cut out {found.values!r}, and there are {values!r}")
    expect(reference.same(found.others, shown), "the other members are returned, objects in them left out")
    expect(reference.same(reference.read(found.rest), others), "what is left holds the other members in their order")
    expect(_is_left_of(found.rest, raw), "nothing is left that was not there")
    expect(bool(values) or found.rest == raw, "an object without that member stays as it is")


def depth(raw: bytes) -> None:
    """JSON is as deep as it is, and of what is none there is an answer too."""
    try:
        held = reference.read(raw)
    except (reference.NotJsonError, reference.TooDeepError):
        jsontext.is_deeper(raw, 3)
        return
    deep = _depth(held)
    expect(not jsontext.is_deeper(raw, max(1, deep)), f"{deep} is not deeper than {max(1, deep)}")
    expect(deep < 2 or jsontext.is_deeper(raw, deep - 1), f"{deep} is deeper than {deep - 1}")


def _depth(value: object) -> int:
    if isinstance(value, reference.Members):
        value = [held for _, held in value]
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _is_left_of(rest: bytes, raw: bytes) -> bool:
    """Tell whether ``rest`` is ``raw`` with pieces left out."""
    source = iter(raw)
    return all(byte in source for byte in rest)


TARGETS = (
    Target("json-loads", loads, _DOCUMENTS, WORDS),
    Target("json-elements", elements, [b"[%s]" % document for document in _DOCUMENTS] + list(_DOCUMENTS), WORDS),
    Target("json-depth", depth, [*_DOCUMENTS, b'{"]":[{"[":"\\"]"}]}', b'[[],{"a":"\\\\"},[{}]]', b'}{"'], WORDS),
    Target(
        "json-cut",
        cut,
        [
            *_DOCUMENTS,
            b'{"secret":1}', b'{"a":2, "secret" : "x" ,"b":1e5}', b'{"s":{"secret":1},"secret":[2]}', b'{"a":"secret"}',
            b'{"\\u0073ecret":1,"a":2}', b'{"secret":1,"secret":2,"a":0,"secret":3}', b'{"a":"\\"secret","secret":{}}',
            b'\n{\n  "a": 1,\n  "secret": [1]\n}\n', b'{"a":"\\"secret\\":1","secret":0}',
        ],
        WORDS,
    ),
)  # fmt: skip
