"""The vectors as they lie in `vectors`: a file a provider."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ingest import adapters
from ingest.adapters.base import Adapter, Request

FOLDER = Path(__file__).parent / "vectors"
_OF_THE_SOURCE = ("handshake_secret", "options", "tolerance_seconds")


@dataclass(frozen=True)
class Vector:
    """A request and what it must come to. ``source`` is what is configured for it, as settings have it."""

    provider: str
    id: str
    description: str
    valid: bool
    request: Request
    at: float
    source: dict[str, Any]

    @property
    def is_event(self) -> bool:
        """Whether it brings events, if it is valid; else it is a handshake, or a list of none."""
        return "(no event)" not in self.description

    def adapter(self) -> Adapter:
        """Return what has to verify it."""
        more = {name: value for name, value in self.source.items() if name in _OF_THE_SOURCE}
        return adapters.build(self.provider, self.source["secrets"], **more)


@cache
def vectors(provider: str) -> tuple[Vector, ...]:
    """Return the vectors of ``provider``; none where nobody has made any."""
    file = FOLDER / f"{provider}.json"
    if not file.exists():
        return ()
    return tuple(_vector(provider, held) for held in json.loads(file.read_text(encoding="utf-8")))


def provided() -> list[str]:
    """Return the names of the providers that have vectors."""
    return sorted(file.name.removesuffix(".json") for file in FOLDER.glob("*.json"))


def without_query(url: str) -> str:
    """Return ``url`` as a source's public_url is."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def _vector(provider: str, held: dict[str, Any]) -> Vector:
    url = held["url"]
    body = base64.b64decode(held["body_base64"]) if "body_base64" in held else held["body"].encode()
    headers = [(name.lower(), as_received(value)) for name, value in held["headers"]]
    source = {"provider": provider, "secrets": [held["secret"]], "public_url": without_query(url)}
    source |= {name: held[name] for name in _OF_THE_SOURCE if name in held}
    return Vector(
        provider,
        held["id"],
        held["description"],
        held["valid"],
        Request(held["method"], url, headers, body),
        held["at"],
        source,
    )


def as_received(value: str) -> str:
    """Return a header's value as the gate sees it: bytes as latin-1, what is not latin-1 having come as UTF-8."""
    bare = value.strip(" \t")
    return bare if all(char <= "\xff" for char in bare) else bare.encode("utf-8", "surrogatepass").decode("latin-1")
