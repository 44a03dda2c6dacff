"""`tidegate rejects`"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import click
from rich.console import Console
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_fixed

from ingest.noted import REASONS
from tidegate.cli.context import Context
from tidegate.cli.refusals import JsonLines, Lines, View
from tidegate.cli.when import When
from tidegate.serving import until_stopped
from tidegate.settings import Settings
from tidegate.stream import UNAVAILABLE, Rejected, RejectedLog, connect, require
from tidegate.telemetry import redaction

_PAGE = 500
_BLOCK_SECONDS = 1.0
_AGAIN_SECONDS = 0.5
_SEEN_MAX = 1000

Wanted = Callable[[Rejected], bool]


@click.command("rejects")
@click.option("--source", help="Only this source, or what was asked for in place of one.")
@click.option("--reason", metavar="REASON", type=click.Choice(REASONS), help=f"Only this reason: {', '.join(REASONS)}.")
@click.option("--since", type=When(), help="Only those since then: 15m, 2h, 3d, or a time.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="The newest so many.")
@click.option("--follow", "-f", is_flag=True, help="Go on with new ones until Ctrl-C or SIGTERM.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.pass_obj
def command(
    context: Context,
    source: str | None,
    reason: str | None,
    since: datetime | None,
    limit: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Show the requests that the gate refused, newest last, and what to do about each.

    About the last [ingest] rejects_max are kept. Of many alike only some are, and they say how many there were. The clock is
    the time that a request says it was signed at, against ours.
    """
    settings = context.settings()

    def wanted(record: Rejected) -> bool:
        return (
            (source is None or record.source == source)
            and (reason is None or record.reason == reason)
            and (since is None or record.at_ms >= since.timestamp() * 1000)
        )

    # Nobody's terminal ends at 80 columns when the reader is grep.
    console = Console(width=None if sys.stdout.isatty() else 1000, highlight=False)
    view: View = JsonLines() if as_json else Lines(console, now=lambda: datetime.now(UTC))
    if follow:
        context.run(until_stopped(_follow(settings, wanted, limit, view)))
        return
    found = context.run(_show(settings, wanted, limit, view))
    if not found and not as_json:
        fits = " that fits" if source or reason or since else ""
        none_kept = "" if settings.ingest.rejects_max else ": ingest.rejects_max is 0, so none is kept"
        click.echo(f"no refused request{fits}{none_kept}")


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[RejectedLog]:
    url = settings.require_redis()
    client = connect(url, timeout_seconds=settings.stream.timeout_seconds, block_seconds=_BLOCK_SECONDS)
    try:
        await require(client, url)
        yield RejectedLog.of(client, settings.stream)
    finally:
        await client.aclose()


async def _show(settings: Settings, wanted: Wanted, limit: int, view: View) -> int:
    async with _opened(settings) as log:
        found, _ = await _past(log, wanted, limit)
    for record in found:
        view.show(record)
    return len(found)


async def _past(log: RejectedLog, wanted: Wanted, limit: int) -> tuple[list[Rejected], str]:
    """Return the newest ``limit`` records that are wanted, oldest first, and the entry after which new ones come."""
    found: dict[str, Rejected] = {}
    newest, before = "0", None
    while True:
        page = await log.newest(_PAGE, before=before)
        if before is None and page:
            newest = page[-1][0]
        # By id: a record that was sent again after a lost answer is there twice.
        found = {record.id or entry: record for entry, record in page if wanted(record)} | found
        if len(page) < _PAGE or len(found) >= limit:
            return list(found.values())[-limit:], newest
        before = page[0][0]


async def _follow(settings: Settings, wanted: Wanted, limit: int, view: View) -> None:
    """Show what is there, then what comes. Raises what the first look raises; later a Redis that is away is waited for."""
    outage = _Outage()
    async with _opened(settings) as log:
        found, last = await _past(log, wanted, limit)
        seen = deque((record.id for record in found if record.id), maxlen=_SEEN_MAX)
        for record in found:
            view.show(record)
        if not found:
            click.echo("nothing so far; what is refused from now on appears here, Ctrl-C ends", err=True)
        while True:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(UNAVAILABLE), wait=wait_fixed(_AGAIN_SECONDS), before_sleep=outage.began
            ):
                with attempt:
                    entries = await log.after(last, count=_PAGE, block_ms=round(_BLOCK_SECONDS * 1000))
            outage.ended()
            for entry_id, record in entries:
                last = entry_id
                if wanted(record) and record.id not in seen:
                    seen.extend([record.id] if record.id else [])
                    view.show(record)


class _Outage:
    """A Redis that is away, said once when it goes and once when it is back."""

    def __init__(self) -> None:
        self._since: float | None = None

    def began(self, state: RetryCallState) -> None:
        if self._since is None:
            self._since = time.monotonic()
            error = state.outcome.exception() if state.outcome else None
            click.echo(f"{_now()} cannot look: {redaction.text(' '.join(str(error).split()))}", err=True)

    def ended(self) -> None:
        if self._since is not None:
            click.echo(f"{_now()} looking again, after {time.monotonic() - self._since:.1f} s", err=True)
            self._since = None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
