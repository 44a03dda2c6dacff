"""The time a request says it was signed at: where it is, its unit, and how far from ours it may be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ingest.adapters.base import RefusedError, Request
from ingest.adapters.clock import check_fresh, digits, iso_ms
from ingest.adapters.declaration import Timestamp
from ingest.adapters.values import path
from ingest.adapters.verifier import all_of
from tidegate import jsontext

Pairs = Mapping[str, Sequence[str]]
LOOKED_INTO_BYTES_MAX = 65_536
"""Of a body that is parsed only to tell the operator what a stranger says of the time."""


class Stamp:
    """``tolerance_seconds`` is the source's own, where it has one."""

    def __init__(self, words: Timestamp, tolerance_seconds: int | None) -> None:
        self._headers = all_of(words.header)
        self._shown = words.header if isinstance(words.header, str) else " or ".join(words.header or ())
        self.pair = words.pair
        self._path = path(words.body) if words.body is not None else None
        self.in_body = words.body is not None
        self.name = self._shown or words.pair or words.body or ""
        self._unit = words.unit
        self._required = words.required
        self._old_seconds = tolerance_seconds or words.tolerance_seconds
        self._ahead_seconds = tolerance_seconds or min(words.ahead_seconds, words.tolerance_seconds)

    def text(self, request: Request, pairs: Pairs) -> str | None:
        """Return the time as received, None where it may be absent and is.

        Raises RefusedError(missing_header | duplicate_header | malformed_signature).
        """
        if self.pair is not None:
            found = pairs.get(self.pair, ())
            if len(found) > 1:
                raise RefusedError("malformed_signature", f"{self.pair} occurs {len(found)} times in the signature")
            text = found[0] if found else None
        elif self._path is not None:
            text = self._of_body(request)
        else:
            for name in self._headers:
                text = request.header(name)
                if text:
                    return text
            text = None
        if text:
            return text
        if not self._required:
            return None
        if self.pair is not None:
            raise RefusedError("malformed_signature", f"the signature holds no time, {self.pair}=")
        raise RefusedError("missing_header", f"{self.name} is missing or empty: does a proxy drop it?")

    def _of_body(self, request: Request) -> str | None:
        assert self._path is not None
        try:
            held = self._path(jsontext.loads(request.body))
        except jsontext.NotJsonError:
            return None
        return str(held) if type(held) is int or isinstance(held, str) else None

    def check(self, text: str, now_seconds: float) -> None:
        """Raise RefusedError when ``text`` is no time, too old, or ahead of our clock."""
        seconds = self.seconds(text)
        if seconds is None:
            expected = "a time in ISO 8601" if self._unit == "iso" else "an integer: digits alone are expected"
            raise RefusedError("malformed_signature", f"{self.name} is not {expected}")
        check_fresh(seconds, now_seconds, self._old_seconds, self._ahead_seconds)

    def seconds(self, text: str) -> float | None:
        """Return Unix seconds, None where ``text`` is no time."""
        if self._unit == "iso":
            ms = iso_ms(text)
            return None if ms is None else ms / 1000
        number = digits(text)
        if number is None:
            return None
        return number / 1000 if self._unit == "ms" else number

    def of(self, now_seconds: float) -> str:
        """Return ``now_seconds`` as the provider writes it."""
        if self._unit == "iso":
            return datetime.fromtimestamp(now_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return str(math.floor(now_seconds * (1000 if self._unit == "ms" else 1)))

    def header(self) -> str | None:
        """Return the header that it is sent in, None where it is none."""
        return self._shown.split(" or ")[0] if self._headers else None

    def seen_seconds(self, request: Request, pairs: Pairs) -> float | None:
        """Return the same as Unix seconds, of whoever's request; None where that raises, and where it is in a large body."""
        if self.in_body and len(request.body) > LOOKED_INTO_BYTES_MAX:
            return None
        text = self.seen(request, pairs)
        return None if text is None else self.seconds(text)

    def seen(self, request: Request, pairs: Pairs) -> str | None:
        """Return the same as `text`; None where that raises."""
        try:
            return self.text(request, pairs)
        except RefusedError:
            return None
