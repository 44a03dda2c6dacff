"""The payloads of a provider's samples, in the forms in which providers write JSON."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.providers.making.bodies import STAMP, Body, compact, pretty, spaced
from tests.providers.making.request import Headers
from tests.providers.making.signer import AT

_FOLDER = Path(__file__).parents[3] / "ingest" / "providers"
_FOREIGN = "tide.turned"
_NOTE = "Zoë 東京 🚀 </b>"


def payloads(
    name: str, *, headers: Callable[[int], Headers] = lambda number: (), holds_stamp: bool = False
) -> list[Body]:
    """Return each sample of ``name`` as declared; the first one also with unicode, over lines, escaped, of a foreign type.

    ``headers`` are those of the so-maniest request, beside the sample's. ``holds_stamp``: its milliseconds are the time
    that is signed.
    """
    samples = _samples(name)
    first = samples[0]
    made: list[tuple[str, dict[str, Any], Callable[[Any], bytes]]] = [
        (found["type"], found, _same) for found in samples
    ]
    made.append((f"{first['type']}, with unicode", first, lambda held: compact(held | {"note": _NOTE})))
    made.append((f"{first['type']}, over several lines", first, pretty))
    made.append((f"{first['type']}, escaped", first, lambda held: spaced(held | {"note": _NOTE})))
    foreign = _foreign(first)
    if foreign is not None:
        made.append(("a type that nobody knows", foreign, compact))
    return [
        _body(said, found, write, number, headers(number), holds_stamp=holds_stamp)
        for number, (said, found, write) in enumerate(made, start=1)
    ]


def samples_of(name: str) -> Iterator[str]:
    """Give the types that ``name`` has samples of."""
    return (found["type"] for found in _samples(name))


@cache
def _samples(name: str) -> list[dict[str, Any]]:
    # Not by the catalogue: what makes vectors knows nothing of how we read declarations.
    samples: list[dict[str, Any]] = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))["samples"]
    return samples


def _same(held: object) -> bytes:
    return json.dumps(held, ensure_ascii=False).encode()


def _foreign(found: dict[str, Any]) -> dict[str, Any] | None:
    """Return ``found`` of a type that the provider does not have, None where its type is put together of several."""
    kind, quoted = found["type"], json.dumps(found["type"])
    headers = {key: _FOREIGN if value == kind else value for key, value in found.get("headers", {}).items()}
    if quoted not in found["body"] and headers == found.get("headers", {}):
        return None
    return {"headers": headers, "body": found["body"].replace(quoted, json.dumps(_FOREIGN))}


def _body(
    said: str,
    found: dict[str, Any],
    write: Callable[[Any], bytes],
    number: int,
    more: Headers,
    *,
    holds_stamp: bool,
) -> Body:
    def fill(text: str) -> str:
        for mark, value in (
            ("<id>", f"5f0c{number:04x}"),
            ("<number>", str(8_000_000 + number)),
            ("<seconds>", str(AT - 2)),
            ("<ms>", str(AT * 1000)),
            ("<iso>", "2026-09-21T14:13:18Z"),
        ):
            text = text.replace(mark, value)
        return text

    content = write(json.loads(fill(found["body"])))
    if holds_stamp:
        content = content.replace(str(AT * 1000).encode(), STAMP)
    own = tuple((key, fill(value)) for key, value in found.get("headers", {}).items())
    return Body(said, content, own + more)
