"""Which secret of a source verified how often and when, of all gates together: what a rotation is judged by.

A record is of the secret and not of its label: labels move on (`env:NEW` is given another value, `secret 1` another place), and
what an old secret did must not be held for or against the next. So a secret is known by its mark, 16 bits of a hash:
enough to tell a handful apart, and next to nothing about the secret.

A record, not a count of the ledger: counted twice where an answer was lost, and begun anew where Redis lost its data.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, cast

from tidegate.stream.calls import Script, limited
from tidegate.stream.client import Client
from tidegate.stream.keys import secret_uses

CALL_SECONDS = 5.0
"""Limit of one call, whatever the socket does: gates write once a second, beside their requests."""
_YEAR_10000_MS = 253_402_300_800_000
_OF_SECRET = ("label", "known_ms", "held_ms", "count", "first_ms", "last_ms", "silence_ms", "total_then")


@dataclass(frozen=True, slots=True)
class Used:
    """What one gate has to tell of one secret: it has it, and since it told last ``count`` requests verified with it.

    ``own`` of them were sent by `tidegate send` and `tidegate sources test`; the times are of the others.
    """

    source: str
    mark: str
    label: str
    count: int = 0
    first_ms: int = 0
    last_ms: int = 0
    own: int = 0


@dataclass(frozen=True, slots=True)
class SecretUse:
    """What is known of one secret. Times in Unix milliseconds, None where it never verified what others than we sent.

    ``known_ms``: since when there is a record. ``held_ms``: when a gate last said that it has it, which each does once a
    minute. ``silence_ms``: the longest time without it after which it came again. ``since``: how many requests of the
    source others have verified after it did, or where it never did, after it was first known; those that we sent ourselves do not
    count.
    """

    mark: str
    label: str
    known_ms: int
    held_ms: int
    count: int
    first_ms: int | None
    last_ms: int | None
    silence_ms: int
    since: int


def mark(source: str, secret: str) -> str:
    """Return what ``secret`` of ``source`` is known by in the record."""
    named = f"{source}\n{secret}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(named, digest_size=2, person=b"secret").hexdigest()


class SecretUses:
    """The record of the deployment whose keys begin with ``prefix``. Methods raise redis-py's errors."""

    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._key = secret_uses(prefix)
        text = resources.files("tidegate.stream").joinpath("lua/verified.lua").read_text()
        self._tell = cast(Script, client.register_script(text))

    async def tell(self, used: Sequence[Used], now_ms: int) -> None:
        """Write down in one call what a gate knows. Safe to repeat, save that counts are added again."""
        if not used:
            return
        args: list[Any] = [now_ms]
        for one in used:
            args += [one.source, one.mark, one.label, one.count, one.own, one.first_ms, one.last_ms]
        await limited(lambda: self._tell(keys=[self._key], args=args), CALL_SECONDS)

    async def load(self) -> dict[str, list[SecretUse]]:
        """Return the record by source, in order of when a secret was first known. What is none of ours is left out."""
        return _read(await self._fields())

    async def forget(self, before_ms: int) -> int:
        """Drop what is known of secrets that no gate has had since ``before_ms``; return of how many."""
        held = await self._fields()
        gone = [(source, use.mark) for source, uses in _read(held).items() for use in uses if use.held_ms < before_ms]
        if gone:
            names = [f"{what}:{source}:{name}" for source, name in gone for what in _OF_SECRET]
            await limited(lambda: self._client.hdel(self._key, *names), CALL_SECONDS)
        return len(gone)

    async def _fields(self) -> Mapping[bytes, bytes]:
        return cast(Mapping[bytes, bytes], await limited(lambda: self._client.hgetall(self._key), CALL_SECONDS))


def _read(held: Mapping[bytes, bytes]) -> dict[str, list[SecretUse]]:
    totals: dict[str, int] = {}
    told: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for field, value in held.items():
        what, _, rest = field.decode("utf-8", "replace").partition(":")
        source, _, name = rest.partition(":")
        text = value.decode("utf-8", "replace")
        if what == "total":
            totals[source] = _integer(text)
        elif what in _OF_SECRET and name:
            told[source, name][what] = text
    found: dict[str, list[SecretUse]] = defaultdict(list)
    for (source, name), texts in told.items():
        number = {what: _integer(texts.get(what, "")) for what in _OF_SECRET if what != "label"}
        if not number["known_ms"]:
            continue
        found[source].append(
            SecretUse(
                mark=name,
                label=texts.get("label", ""),
                known_ms=number["known_ms"],
                held_ms=number["held_ms"],
                count=number["count"],
                first_ms=number["first_ms"] or None,
                last_ms=number["last_ms"] or None,
                silence_ms=number["silence_ms"],
                since=max(0, totals.get(source, 0) - number["total_then"]),
            )
        )
    return {source: sorted(uses, key=lambda use: (use.known_ms, use.label)) for source, uses in found.items()}


def _integer(text: str) -> int:
    found = int(text) if text.isascii() and text.isdecimal() and len(text) <= 15 else 0
    return found if found < _YEAR_10000_MS else 0
