"""One step of how a request is judged, and the words for what is in it: fit to be shown, and pasted into a ticket."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingest.adapters.base import Request

_NEAR = re.compile(r"sign|hmac|digest|hash|token|secret|auth|timestamp|webhook|request-id|event", re.IGNORECASE)
NAMES_MAX = 12
_NAME_CHARS_MAX = 60
_END_CHARS = 12
_MASKED_CHARS_MAX = 4096
_SHOWN_CHARS = 4
"""Of a signature: enough to find it in the provider's log, of no use to a forger."""


@dataclass(frozen=True, slots=True)
class Step:
    """``good`` says whether this step passes; None where it only tells. ``secret`` is which one it is about."""

    name: str
    told: str
    good: bool | None = None
    secret: int | None = None


def of_secret(index: int, count: int, told: str, *, good: bool) -> Step:
    """Return the step about one of ``count`` secrets."""
    return Step("secret" if count == 1 else f"secret {index + 1}", told, good, index)


def headers(request: Request, wanted: Sequence[Sequence[str]]) -> Step:
    """Tell which of ``wanted`` are there: of each one name, of several that may stand for another."""
    told, good = [], True
    for names in wanted:
        counts = {name: len(request.values(name.lower())) for name in names}
        borne = [f"{name}{f' {count} times' if count > 1 else ''}" for name, count in counts.items() if count]
        told.append(" and ".join(borne) if borne else f"{' or '.join(names)} missing")
        good = good and bool(borne) and max(counts.values()) == 1
    seen = [name for names in wanted for name in names]
    return Step("headers", ", ".join(dict.fromkeys(told)) + ("" if good else near(request, seen)), good)


def near(request: Request, wanted: Sequence[str]) -> str:
    """Return the headers there are that another scheme may use, by name, as the end of a sentence."""
    known = {name.lower() for name in wanted}
    names = dict.fromkeys(name for name, _ in request.headers if _NEAR.search(name) and name not in known)
    if not names:
        return f"; there are {times(len(request.headers), 'header')}, and none like it"
    return f"; there is {', '.join(shown_name(name) for name in list(names)[:NAMES_MAX])}"


def shown_name(text: str) -> str:
    """Return a name that the client chose, fit to be shown."""
    return "".join(char if char.isprintable() else "?" for char in text[:_NAME_CHARS_MAX])


def times(count: int, noun: str) -> str:
    """Return `1 byte`, `2 bytes`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def start(signature: str) -> str:
    """Return how a signature begins; nothing of what is no signature by its length."""
    return f"{shown_name(signature[:_SHOWN_CHARS] if len(signature) > 4 * _SHOWN_CHARS else '')}..."


def ends(text: str, masked: Callable[[str], str]) -> str:
    """Return the first and last characters of ``text``, secrets masked before anything is cut."""
    if len(text) <= 2 * _END_CHARS:
        return repr(masked(text))
    first, last = masked(text[:_MASKED_CHARS_MAX]), masked(text[-_MASKED_CHARS_MAX:])
    return f"{first[:_END_CHARS]!r} ... {last[-_END_CHARS:]!r}"
