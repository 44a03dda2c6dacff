"""A request on its way to us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Request:
    """Header values are text; what does not fit into latin-1 goes over the wire as UTF-8."""

    method: str
    url: str
    headers: Headers
    body: bytes

    def value(self, name: str) -> str:
        """Return the header ``name``; raise KeyError where it is not there."""
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        raise KeyError(name)

    def with_header(self, name: str, *values: str) -> Self:
        """Return it with the header ``name`` as often as there are ``values``, in place of what it had."""
        others = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=others + tuple((name, value) for value in values))

    def with_body(self, body: bytes) -> Self:
        """Return it with another body and the same headers."""
        return replace(self, body=body)

    def mapping(self) -> Mapping[str, str]:
        """Return the headers as SDKs want them."""
        return dict(self.headers)

    @property
    def repeats_a_header(self) -> bool:
        """Whether a mapping would not say what its headers say."""
        return len({name.lower() for name, _ in self.headers}) < len(self.headers)
