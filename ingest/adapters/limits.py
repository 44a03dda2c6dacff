"""Limits on the texts that an adapter takes out of a request, so that each fits an index and can be stored."""

from __future__ import annotations

from ingest.adapters.base import content_id
from tidegate.jsontext import is_storable

TEXT_MAX = 200
"""Characters of an event id, type or key. A Postgres index row ends at 2.7 kB, and four of them may share one."""


def bounded(text: str) -> str:
    """Return ``text``, or ``sha256:`` and its hash when it is too long or cannot be stored: still the same each time."""
    if len(text) <= TEXT_MAX and is_storable(text):
        return text
    return content_id(text.encode("utf-8", "surrogatepass"))


def event_type(value: object) -> str | None:
    """Return ``value`` where it can be an event's type, else None. A hash would match no handler, hence no ``bounded``."""
    if isinstance(value, str) and 0 < len(value) <= TEXT_MAX and is_storable(value):
        return value
    return None


def identifier(value: object) -> str | None:
    """Return the text of an id as providers send them, a non-empty text or an integer; None for anything else."""
    if type(value) is int:  # not isinstance: True is no id
        return str(value)
    return value if isinstance(value, str) and value else None


def key(noun: str, value: object) -> str:
    """Return what an event is about as ``noun:value``, empty when ``value`` names nothing."""
    named = identifier(value)
    return "" if named is None else bounded(f"{noun}:{named}")
