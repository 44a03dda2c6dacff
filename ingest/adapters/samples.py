"""Payloads as each provider sends them, new each time, so that none is taken for a repetition."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from ingest.adapters.declaration import Declaration, Sample
from tidegate.errors import UsageError

_MARK = re.compile(r"<(id|number|seconds|ms|iso|type)>")


@dataclass(frozen=True, slots=True)
class Filled:
    """One request's body and the headers that go with it, beside those of a signature."""

    event_type: str
    body: bytes
    headers: list[tuple[str, str]]


def sample(words: Declaration, *, event_type: str | None = None, now_seconds: float | None = None) -> Filled:
    """Return a sample of ``event_type``, the first one where None; raise UsageError where there is none."""
    if not words.samples:
        raise UsageError("there is no sample of this provider: give a payload to `tidegate send`")
    known = {found.type: found for found in words.samples}
    if event_type is not None and event_type not in known:
        raise UsageError(f"there is no sample of {event_type!r}; there are {', '.join(known)}")
    return _fill(known[event_type] if event_type is not None else words.samples[0], now_seconds or time.time())


def _fill(found: Sample, now_seconds: float) -> Filled:
    number = secrets.token_hex(8)  # one id a request: a header often repeats what is in the body

    def fill(text: str) -> str:
        return filled(text, found.type, now_seconds, name=number)

    headers = [(name, fill(value)) for name, value in found.headers.items()]
    if found.content_type is not None:
        headers.insert(0, ("Content-Type", found.content_type))
    return Filled(found.type, fill(found.body).strip().encode(), headers)


def filled(text: str, kind: str, now_seconds: float, *, name: str | None = None) -> str:
    """Return ``text`` with what stands in for the changing replaced."""
    made: dict[str, Callable[[], str]] = {
        "id": lambda: name or secrets.token_hex(8),
        "number": lambda: str(secrets.randbelow(10**9) + 1),
        "seconds": lambda: str(int(now_seconds)),
        "ms": lambda: str(int(now_seconds * 1000)),
        "iso": lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_seconds)),
        "type": lambda: kind,
    }
    return _MARK.sub(lambda mark: made[mark[1]](), text)
