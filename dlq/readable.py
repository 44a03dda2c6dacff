"""Letters made readable for a person. What is in them came from outside, broken or hostile as it may be.

Escaping for HTML is the templates' (they escape everything). Here is what HTML lets through and a reader must not be
fooled by: control characters, and marks that turn the direction of a line or have no width.
"""

from __future__ import annotations

import re
from datetime import datetime

from tidegate import jsontext

CHARS_MAX = 100_000
"""More of a payload than this is downloaded, not read."""
_DEPTH_MAX = 200

_PART = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)
_OPEN, _CLOSE = {"{", "["}, {"}", "]"}


def visible(text: str) -> str:
    """Return ``text`` with every character that cannot be seen written as its escape; line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else _escape(char) for char in text)


def _escape(char: str) -> str:
    return repr(char)[1:-1] if char != "\u00a0" else char


def payload(raw: bytes) -> tuple[str, int]:
    """Return a payload for reading, JSON indented, and how many characters of it were left out."""
    try:
        jsontext.loads(raw)
        text, left_out = indent(raw.decode())
    except jsontext.NotJsonError:
        text, left_out = raw.decode("utf-8", "backslashreplace"), 0
    return visible(text[:CHARS_MAX]), left_out + max(0, len(text) - CHARS_MAX)


def indent(text: str) -> tuple[str, int]:
    """Return the valid JSON ``text`` laid out over lines, and how many characters were left when CHARS_MAX was reached.

    Every name, number and escape is spelled as it was. Parsing and writing it again would be shorter and would show
    1.10 as 1.1, and one of two members of the same name: just what whoever reads a dead letter is after.
    """
    out: list[str] = []
    length = depth = 0
    opened = False
    for match in _PART.finditer(text):
        part = match[0]
        if length >= CHARS_MAX:
            return "".join(out), len(text) - match.start()
        if part in _CLOSE:
            depth -= 1
            piece = part if opened else _line(depth) + part
        elif part == ",":
            piece = part + _line(depth)
        elif part == ":":
            piece = ": "
        else:
            piece = _line(depth) + part if opened else part
        opened = part in _OPEN
        depth += opened
        out.append(piece)
        length += len(piece)
    return "".join(out), 0


def _line(depth: int) -> str:
    # A payload of nothing but brackets would otherwise grow with the square of its length.
    return "\n" + "  " * min(depth, _DEPTH_MAX)


def duration(milliseconds: float | None) -> str:
    """Return `850 ms`, `12 s`, `4 min`, `3 h`, `2 d`; a dash for None."""
    if milliseconds is None:
        return "–"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds // 86_400:,.0f} d"


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago ``then`` was."""
    return f"{duration(max(0.0, (now - then).total_seconds() * 1000))} ago"
