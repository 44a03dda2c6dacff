"""A refused request as a person reads it: one line of facts, and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Protocol

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from dlq import readable
from tidegate.stream import Rejected

_WIDE = 110
"""Columns from which on size and address have room on the line of facts."""
_INDENT = 13
_YEARS_SECONDS = 10 * 365 * 86_400
_YEAR_10000_MS = 253_402_300_800_000


def when(record: Rejected) -> datetime:
    """Return when the request was refused; what cannot be a time is 1970."""
    at_ms = record.at_ms if record.at_ms < _YEAR_10000_MS else 0
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def clock(seconds: float | None) -> str:
    """Return `12 min behind`, `4 s ahead`, `in step`, `years ahead`, or nothing where no time was signed."""
    if seconds is None:
        return ""
    if abs(seconds) < 1:
        return "in step"
    far = "years" if abs(seconds) > _YEARS_SECONDS else readable.duration(abs(seconds) * 1000)
    return f"{far} {'behind' if seconds > 0 else 'ahead'}"


class View(Protocol):
    """How records are shown, one at a time."""

    def show(self, record: Rejected) -> None: ...


class JsonLines:
    """An object a line."""

    def show(self, record: Rejected) -> None:
        at = when(record).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        click.echo(json.dumps({"at": at, **asdict(record)}))


class Lines:
    """For people: what does not fit on the line of facts stands below it, indented."""

    def __init__(self, console: Console, *, now: Callable[[], datetime]) -> None:
        self._console = console
        self._now = now
        self._wide = console.width >= _WIDE
        # Cut only where a person sees that it was; grep looks for whole names.
        self._source_max = 64 if not console.is_terminal else 16 if self._wide else 10
        self._detail: str | None = None

    def show(self, record: Rejected) -> None:
        with self._console.capture() as drawn:
            self._draw(record)
        click.echo(drawn.get(), nl=False)  # rich itself would end the process with 1 when the reader is gone

    def _draw(self, record: Rejected) -> None:
        if self._detail is None:
            names = ("time (UTC)", "source", "status", "reason", "scheme", "clock", "bytes", "address")
            self._print(self._facts(*names), style="bold")
        size, address = f"{record.bytes:,}", _plain(record.address)
        facts = self._facts(
            self._time(when(record)),
            _plain(record.source),
            str(record.status),
            _plain(record.reason),
            _plain(record.scheme),
            clock(record.clock_seconds),
            size,
            address,
        )
        came_as = (
            f" It came as {record.content_type}" if record.reason == "content_type" and record.content_type else ""
        )
        detail, before = _plain(record.detail + came_as), self._detail
        self._detail = detail
        # The same advice twice running is noise to a person, and what grep looks for elsewhere.
        below = [detail] if detail and (detail != before or not self._console.is_terminal) else []
        if not self._wide:
            below.append(f"{size} bytes" + (f" from {address}" if address else ""))
        if record.suppressed:
            below.append(f"{record.suppressed:,} more like it came before, and were not recorded")
        if below and len(facts) + 2 + sum(len(text) + 2 for text in below) <= self._console.width and self._wide:
            facts, below = f"{facts}  {'; '.join(below)}", []
        self._print(facts)
        for text in below:
            style = "" if text is detail else "dim"
            self._console.print(Padding(Text(text, style=style), (0, 0, 0, _INDENT), expand=False))

    def _print(self, line: str, style: str = "") -> None:
        self._console.print(Text(line.rstrip(), style=style), no_wrap=True, overflow="ellipsis")

    def _facts(
        self, time: str, source: str, status: str, reason: str, scheme: str, clock: str, size: str, address: str
    ) -> str:
        named = source if len(source) <= self._source_max else f"{source[: self._source_max - 1]}…"
        line = f"{time:<11}  {named:<{16 if self._wide else 10}}  {status:<6}  {reason:<19}  {scheme:<11}  {clock:<14}"
        return f"{line}  {size:>9}  {address:<15}" if self._wide else line

    def _time(self, at: datetime) -> str:
        return f"{at:%H:%M:%S}" if at.date() == self._now().date() else f"{at:%m-%d %H:%M}"


def _plain(text: str) -> str:
    """Return text from a record for a terminal: whoever wrote it, no control character takes effect."""
    return readable.visible(text).replace("\n", " ").replace("\t", " ")
