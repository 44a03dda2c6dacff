"""How signatures stand in a header: alone, in a list, or among `name=value` pairs with the time beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ingest.adapters.base import RefusedError, Request
from ingest.adapters.declaration import Signature
from ingest.adapters.stamps import Pairs, Stamp
from ingest.adapters.verifier import SIGNATURES_MAX, all_of, first_of

_NO_PAIRS: Mapping[str, Sequence[str]] = {}


class Layout:
    """Reads and writes the header of one scheme."""

    def __init__(self, words: Signature, stamp: Stamp | None) -> None:
        self._names = all_of(words.header)
        self.names = frozenset(self._names)
        self._shown = " or ".join([words.header] if isinstance(words.header, str) else (words.header or ()))
        self._sent = first_of(words.header)
        self._layout = words.layout
        self._prefix = words.prefix
        self._separator = words.separator
        self._pair = words.pair or ""
        self._time = stamp.pair if stamp is not None else None
        self._spaces = words.spaces

    def is_there(self, request: Request) -> bool:
        """Tell whether ``request`` has the header."""
        return any(name in self._names for name, _ in request.headers)

    def read(self, request: Request) -> tuple[list[str], Pairs]:
        """Return the signatures without their prefix, and the pairs. Raises RefusedError where there is none."""
        borne = []
        for name in self._names:
            value = request.header(name)
            if value:
                borne.append(value)
        if not borne:
            raise RefusedError("missing_header", f"{self._shown} is missing or empty: does a proxy drop it?")
        if self._layout == "one":
            return [self._bare(value) for value in borne], _NO_PAIRS
        if self._layout == "pairs":
            pairs = self._pairs(borne)
            given = pairs.get(self._pair, [])
            if self._prefix:
                given = [value[len(self._prefix) :] for value in given if value.startswith(self._prefix)]
            if not given:
                raise RefusedError("wrong_scheme", f"{self._shown} holds no {self._pair}= signature")
            return given, pairs
        given = [part[len(self._prefix) :] for part in self._parts(borne) if part.startswith(self._prefix)]
        if not given:
            raise RefusedError("wrong_scheme", f"{self._shown} holds no signature that begins with {self._prefix}")
        return given, _NO_PAIRS

    def seen(self, request: Request) -> Pairs:
        """Return the pairs for whoever only looks; none where they cannot be read."""
        if self._layout != "pairs":
            return _NO_PAIRS
        try:
            borne = [value for name in self._names for value in request.values(name)]
            return self._pairs(borne) if borne else _NO_PAIRS
        except RefusedError:
            return _NO_PAIRS

    def written(self, signature: str, timestamp: str) -> tuple[str, str]:
        """Return the header as the provider would send it."""
        text = self._prefix + signature
        if self._layout == "pairs":
            time = f"{self._time}={timestamp}{self._separator}" if self._time else ""
            text = f"{time}{self._pair}={text}"
        return self._sent, text

    def _bare(self, value: str) -> str:
        if not value.startswith(self._prefix):
            raise RefusedError("malformed_signature", f"{self._shown} does not begin with {self._prefix}")
        return value[len(self._prefix) :]

    def _parts(self, borne: Sequence[str]) -> list[str]:
        parts = borne[0].split(self._separator, SIGNATURES_MAX + 1)
        for value in borne[1:]:
            parts += value.split(self._separator, SIGNATURES_MAX + 1)
        if len(parts) > SIGNATURES_MAX:
            raise RefusedError(
                "malformed_signature", f"more than {SIGNATURES_MAX} signatures: a rotation needs two or three"
            )
        return [part.strip(" \t") for part in parts] if self._spaces else parts

    def _pairs(self, borne: Sequence[str]) -> dict[str, list[str]]:
        pairs: dict[str, list[str]] = {}
        for part in self._parts(borne):
            name, equals, value = part.partition("=")
            if equals:
                pairs.setdefault(name, []).append(value)
        return pairs
