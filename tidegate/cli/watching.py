"""One audit after the other, until somebody stops it: `tidegate audit --watch`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import click
import psycopg
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_fixed

from tidegate.cli import sheet
from tidegate.errors import UnreachableError
from tidegate.ledger import Audit
from tidegate.postgres import Kind, classify
from tidegate.serving import until_stopped
from tidegate.stream import UNAVAILABLE
from tidegate.telemetry import redaction


@dataclass(frozen=True, slots=True)
class Look:
    """One audit; ``at`` is when, ``since_start_seconds`` counts from the first."""

    at: datetime
    since_start_seconds: float
    audit: Audit

    @property
    def clock(self) -> str:
        return _clock(self.at)


class View(Protocol):
    """How looks are shown."""

    def show(self, look: Look) -> None: ...

    def alarm(self, text: str) -> None: ...

    def notice(self, text: str) -> None:
        """Say what is no alarm."""

    def away(self, text: str) -> None:
        """Say that no look can be had; the last one is not to be taken for news."""

    def back(self, text: str) -> None: ...


class Lines:
    """A line a look, for logs and pipes; what else there is to say goes to stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def show(self, look: Look) -> None:
        audit, balance = look.audit, look.audit.balance
        if self._as_json:
            click.echo(json.dumps({"at": look.clock, **audit.as_dict()}))
            return
        counts = {
            "came": balance.came,
            "found": balance.found,
            "waiting": balance.waiting,
            "retrying": balance.retrying,
            "pending": balance.pending,
            **({"inbox": audit.stored.inbox.counted_rows} if audit.stored.inbox.stored_total else {}),
            "unaccounted": audit.unaccounted,
        }
        click.echo(" ".join([look.clock, *(f"{name}={count}" for name, count in counts.items())]))

    def alarm(self, text: str) -> None:
        click.echo(text, err=True)

    notice = away = back = alarm


class Screen:
    """The latest look in place, with what changed a second since the one before."""

    def __init__(self, live: Live, every_seconds: float) -> None:
        self._live = live
        self._every = f"{every_seconds:g} s"
        self._last: Look | None = None
        self._found: RenderableType = ""

    def show(self, look: Look) -> None:
        last, self._last = self._last, look
        if last is None:
            self._found = sheet.sides(look.audit)
        else:
            seconds = look.since_start_seconds - last.since_start_seconds
            self._found = sheet.sides(look.audit, before=last.audit, seconds=seconds)
        self._draw(sheet.verdict(look.audit), f"at {look.clock}, every {self._every}, Ctrl-C ends")

    def _draw(self, head: Text, rest: str) -> None:
        # The verdict stands first: a terminal too low for all sources cuts off the end.
        self._live.update(Group(head.append(f"   {rest}", style="not bold dim"), self._found), refresh=True)

    def alarm(self, text: str) -> None:
        self._live.console.print(Text(text, style="bold white on red"))

    def notice(self, text: str) -> None:
        self._live.console.print(Text(text, style="yellow"))

    def away(self, text: str) -> None:
        self._live.console.print(Text(text, style="yellow"))
        if self._last is not None:
            self._draw(Text("cannot look", style="bold yellow"), f"below is how it was at {self._last.clock}")

    def back(self, text: str) -> None:
        self._live.console.print(Text(text, style="green"))


def screen(console: Console, every_seconds: float) -> tuple[AbstractContextManager[object], View]:
    """Return the view for a terminal, and what must be open while it is used."""
    live = Live(console=console, auto_refresh=False)
    return live, Screen(live, every_seconds)


def lines(*, as_json: bool) -> tuple[AbstractContextManager[object], View]:
    """Return the view for everything else."""
    return nullcontext(), Lines(as_json=as_json)


class Watch:
    """Looks every ``every_seconds``. ``take`` makes the connections it needs, so that it works again when servers do."""

    def __init__(self, take: Callable[[], Awaitable[Audit]], view: View, *, every_seconds: float) -> None:
        self._take = take
        self._view = view
        self._every_seconds = every_seconds
        self._started = time.monotonic()
        self._away_since: float | None = None
        self._resets: set[tuple[datetime, tuple[int, ...]]] = set()
        """Those that were told."""
        self.alarmed = False
        """Some look found deliveries that are not accounted for."""

    async def run(self) -> bool:
        """Look until SIGTERM or Ctrl-C; return whether everything was accounted for each time.

        Raises what the first look raises. A server that goes away later is waited for.
        """
        await until_stopped(self._looks())
        return not self.alarmed

    async def _looks(self) -> None:
        self._show(await self._take())
        while True:
            await asyncio.sleep(self._every_seconds)
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(_is_away), wait=wait_fixed(self._every_seconds), before_sleep=self._failed
            ):
                with attempt:
                    audit = await self._take()
            self._returned()
            self._show(audit)

    def _show(self, audit: Audit) -> None:
        look = Look(datetime.now(UTC), time.monotonic() - self._started, audit)
        if audit.unaccounted and not self.alarmed:
            self._view.alarm(f"{look.clock} UNACCOUNTED: {audit.unaccounted}")
            self.alarmed = True
        for reset in audit.resets:
            if (reset.last_at, reset.shards) not in self._resets:
                self._resets.add((reset.last_at, reset.shards))
                self._view.notice(f"{look.clock} {reset.sentence}")
        self._view.show(look)

    def _failed(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if self._away_since is None:
            self._away_since = time.monotonic()
            text = redaction.text(" ".join(str(error).split()))
            self._view.away(f"{_clock(datetime.now(UTC))} cannot look: {text}")

    def _returned(self) -> None:
        if self._away_since is not None:
            seconds = time.monotonic() - self._away_since
            self._view.back(f"{_clock(datetime.now(UTC))} looking again, after {seconds:.1f} s")
            self._away_since = None


def _is_away(error: BaseException) -> bool:
    if isinstance(error, psycopg.Error):
        return classify(error) is Kind.TRANSIENT
    return isinstance(error, (UnreachableError, *UNAVAILABLE))


def _clock(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
