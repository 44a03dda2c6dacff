"""JSON read by the standard library's Python code, not the C code that tidegate.jsontext uses: the two must agree.

Being Python it can be instrumented, so that the engine learns the grammar from it.
"""

from __future__ import annotations

import contextlib
import json
import re
from decimal import Decimal
from functools import cache
from json import decoder, scanner
from typing import Any, NoReturn
from unittest.mock import patch

INSTRUMENTED = (decoder.JSONObject, decoder.JSONArray, decoder.py_scanstring, scanner.py_make_scanner)  # type: ignore[attr-defined]


class NotJsonError(ValueError):
    """The bytes are not one JSON text."""


class TooDeepError(Exception):
    """This reader, which needs more stack than the other, cannot say."""


class Members(list[tuple[str, Any]]):
    """The members of an object in their order, with all repetitions."""


def read(raw: bytes) -> Any:
    """Return the value in ``raw``, objects as Members; raise NotJsonError or TooDeepError."""
    try:
        text = raw.decode("utf-8")
        if _BAD_ESCAPE.search(text):
            raise ValueError("not four hex digits")
        return _make().decode(text)
    except ValueError as error:
        raise NotJsonError(str(error)) from None
    except RecursionError:
        raise TooDeepError from None


def teach(raw: bytes) -> None:
    """Read ``raw`` for the engine alone, which sees nothing of what the C code does with it."""
    with contextlib.suppress(NotJsonError, TooDeepError):
        read(raw)


def plain(value: Any) -> Any:
    """Return ``value`` with dicts for Members: of a repeated member the last one."""
    if isinstance(value, Members):
        return {name: plain(held) for name, held in value}
    if isinstance(value, list):
        return [plain(held) for held in value]
    return value


def shallow(value: Any) -> Any:
    """Return ``value`` with None for the objects in it."""
    if isinstance(value, Members):
        return None
    return [shallow(held) for held in value] if isinstance(value, list) else value


def same(one: object, other: object) -> bool:
    """Tell whether two values are the same to the type: `==` takes 1, 1.0 and True for equal."""
    return repr(one) == repr(other)


# As shipped this reader takes `\u 12f` and the digits of all scripts, which is not JSON and not what the C code does.
_BAD_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u(?![0-9A-Fa-f]{4})")
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?")


@cache
def _make() -> json.JSONDecoder:
    made = json.JSONDecoder(object_pairs_hook=Members, parse_constant=_refuse, parse_int=_integer)
    made.parse_string = decoder.py_scanstring  # type: ignore[attr-defined]
    with patch.object(scanner, "NUMBER_RE", _NUMBER):
        made.scan_once = scanner.py_make_scanner(made)  # type: ignore[attr-defined]
    return made


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits.lstrip("-")) <= 4300 else Decimal(digits)
