"""What must never reach a log line, an error text or a stored header."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

MASK = "***"
_SECRET_NAME = re.compile(
    r"secret|token|passw|\bauth|signature|cookie|credential|(api|access)[-_]?key|private|hmac", re.I
)
# Every repetition has an end: these run over error texts that quote payloads, and an open one takes quadratic time.
_URL_PASSWORD = re.compile(r"(?P<scheme>[a-z][a-z0-9+]{0,20}://)(?P<user>[^\s:/@]{0,100}):[^\s@/]{1,200}@", re.I)
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?=[A-Za-z0-9-]{1,63}\.[A-Za-z])")
HEADERS_BYTES_MAX = 2048
"""Kept headers are evidence for a person, not a copy of the request."""


def without_password(url: str) -> str:
    """Return ``url`` with user and password masked, fit to be shown."""
    try:
        parts = urlsplit(url)
        if "@" not in parts.netloc:
            return url
        return urlunsplit(parts._replace(netloc=f"{MASK}@{parts.netloc.rpartition('@')[2]}"))
    except ValueError:
        return MASK


def text(value: str) -> str:
    """Return ``value`` with passwords in URLs and the local part of e-mail addresses masked."""
    return _EMAIL.sub(f"{MASK}@", _URL_PASSWORD.sub(rf"\g<scheme>{MASK}@", value))


def is_secret_name(name: str) -> bool:
    """Tell whether a field or header of this name is likely to hold a secret."""
    return _SECRET_NAME.search(name) is not None


def headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers worth keeping with an event: nothing secret, nothing long, at most 2 KiB together."""
    kept: dict[str, str] = {}
    room = HEADERS_BYTES_MAX
    for name, value in pairs:
        room -= len(name) + len(value)
        if room < 0:
            break
        if not is_secret_name(name) and "\x00" not in value:
            kept[name] = value
    return kept


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return {key: MASK if is_secret_name(str(key)) else _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value


def processor(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: mask values by the name of their field, and passwords and addresses in any text."""
    for key in list(line):
        line[key] = MASK if is_secret_name(key) else _clean(line[key])
    return line
