"""What is signed, compiled: `v0:{timestamp}:{body}` as a function from a request to bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from ingest.adapters.base import RefusedError, Request
from ingest.adapters.values import WrongWordError

Signed = Callable[[Request, str, bytes], bytes]
"""Of a request, its timestamp as received and a secret: the bytes that the signature is over."""

_FIELD = re.compile(r"\{([^{}]*)\}")


def compiled(template: str) -> Signed:
    """Return the function for ``template``; raise WrongWordError for a field there is not."""
    if template == "{body}":
        return lambda request, timestamp, secret: request.body
    before = template.removesuffix("{body}")
    if before != template and _FIELD.findall(before) == ["timestamp"]:
        # Nearly all: constant text and the time before the body. One concatenation, nothing else.
        head, tail = before.split("{timestamp}")
        return lambda request, timestamp, secret: _bytes(f"{head}{timestamp}{tail}") + request.body
    found = [part for _, part in parts(template)]

    def together(request: Request, timestamp: str, secret: bytes) -> bytes:
        return b"".join([part(request, timestamp, secret) for part in found])

    return together


def parts(template: str) -> list[tuple[str, Signed]]:
    """Return what ``template`` is made of, in order: the names of fields in braces and texts, and what makes each."""
    found: list[tuple[str, Signed]] = []
    at = 0
    for field in _FIELD.finditer(template):
        found += _constant(template[at : field.start()])
        found.append((field[0], _field(field[1])))
        at = field.end()
    return found + _constant(template[at:])


def header_names(template: str) -> list[str]:
    """Return the headers that ``template`` signs."""
    return [field.removeprefix("header:") for field in _FIELD.findall(template) if field.startswith("header:")]


def _constant(text: str) -> list[tuple[str, Signed]]:
    if "{" in text or "}" in text:
        raise WrongWordError(f"{text!r}: a brace without its partner")
    raw = text.encode()
    return [(text, lambda request, timestamp, secret: raw)] if raw else []


def _field(name: str) -> Signed:
    if name.startswith("header:"):
        header = name.removeprefix("header:").strip()
        lower = header.lower()

        def value(request: Request, timestamp: str, secret: bytes) -> bytes:
            found = request.header(lower)
            if not found:
                raise RefusedError("missing_header", f"{header} is missing or empty, and is signed")
            return _bytes(found)

        return value
    if name not in _FIELDS:
        raise WrongWordError(f"{{{name}}} is no field of what is signed: {', '.join(_FIELDS)} and header:NAME are")
    return _FIELDS[name]


def _bytes(text: str) -> bytes:
    """Return a header's or URL's text as the bytes it came as: they were decoded as latin-1."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _path(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.path + (f"?{parts.query}" if parts.query else "")


_FIELDS: dict[str, Signed] = {
    "body": lambda request, timestamp, secret: request.body,
    "timestamp": lambda request, timestamp, secret: _bytes(timestamp),
    "secret": lambda request, timestamp, secret: secret,
    "url": lambda request, timestamp, secret: _bytes(request.url),
    "method": lambda request, timestamp, secret: _bytes(request.method),
    "path": lambda request, timestamp, secret: _bytes(_path(request.url)),
}
