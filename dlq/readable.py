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
_EMPTY = {"{": "}", "[": "]"}


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
        text = indent(raw.decode())
    except jsontext.NotJsonError:
        text = raw.decode("utf-8", "backslashreplace")
    return visible(text[:CHARS_MAX]), max(0, len(text) - CHARS_MAX)


def indent(text: str) -> str:
    """Return the valid JSON ``text`` laid out over lines, every name, number and escape spelled as it was.

    Parsing and writing it again would be shorter and would show 1.10 as 1.1, and one of two members of the same name:
    just what whoever reads a dead letter is after.
    """
    parts = _PART.findall(text)
    out: list[str] = []
    depth = 0
    for at, part in enumerate(parts):
        if part in _EMPTY:
            depth += 1
            empty = parts[at + 1] == _EMPTY[part]
            out.append(part if empty else part + _line(depth))
        elif part in ("}", "]"):
            depth -= 1
            out.append(part if parts[at - 1] in _EMPTY else _line(depth) + part)
        elif part == ",":
            out.append("," + _line(depth))
        else:
            out.append(": " if part == ":" else part)
    return "".join(out)


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
