"""What is signed: payloads made up by us, in the forms in which providers write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

FORM = "application/x-www-form-urlencoded"
STAMP = b"@stamp@"
"""Stands in a body for the time that the request says it was signed at, where a provider writes it there."""


@dataclass(frozen=True)
class Body:
    """``headers`` go with it, beside those of the signature: many providers say an event's type in one.

    ``said``: what it is, for the vector's description. One that is no event, but is signed, ends with `(no event)`.
    """

    said: str
    content: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str | None = "application/json"
    method: str = "POST"


def compact(value: object) -> bytes:
    """Return ``value`` as JSON without spaces, everything but ASCII as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def spaced(value: object) -> bytes:
    """Return ``value`` as Python writes JSON, everything but ASCII escaped."""
    return json.dumps(value).encode()


def pretty(value: object) -> bytes:
    """Return ``value`` as JSON over several lines, with a newline at the end."""
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def form(fields: Mapping[str, str]) -> bytes:
    """Return ``fields`` url-encoded."""
    return urlencode(fields).encode()
