"""`tidegate send`"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import click
from rich.console import Console
from rich.progress import track

from ingest import service
from ingest.adapters.declaration import Declaration
from ingest.source import Source
from tidegate.cli import declarations, payloads, posting, printed
from tidegate.cli.context import Context
from tidegate.errors import UsageError
from tidegate.settings import Settings

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class _Header(click.ParamType[tuple[str, str]]):
    name = "header"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Read `Name: value`; the value may be empty, and holds no control characters."""
        if isinstance(value, tuple):
            return value
        name, colon, text = str(value).partition(":")
        if not colon or not _NAME.fullmatch(name):
            self.fail(f"{value!r} is no header: give 'Name: value'", param, ctx)
        if any(char < " " or char == "\x7f" for char in text):
            self.fail(f"{name}: a value has no line ends or control characters", param, ctx)
        return name, text.strip()


@click.command("send")
@click.argument("source")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--type", "event_type", metavar="TYPE", help="The sample to send; with FILE only its headers are.")
@click.option("--list", "as_list", is_flag=True, help="List the types there are samples of, and send nothing.")
@click.option(
    "--header",
    "-H",
    "headers",
    type=_Header(),
    metavar="'NAME: VALUE'",
    multiple=True,
    help="A header to send as it is, in place of one of that name. May be given several times.",
)
@click.option("--url", help="Where to. [default: the gate on this machine]")
@click.option("--message-id", help="Id of the message, for providers that send one. [default: a new one]")
@click.option("--count", type=click.IntRange(1, 100_000), metavar="N", help="Send N samples, each an event of its own.")
@click.option("--dry-run", is_flag=True, help="Print the signed request as a command for curl, and send nothing.")
@click.option("--capture", is_flag=True, help="Print it as a line for `tidegate verify` instead.")
@click.pass_obj
def command(
    context: Context,
    source: str,
    file: BinaryIO | None,
    event_type: str | None,
    as_list: bool,
    headers: Sequence[tuple[str, str]],
    url: str | None,
    message_id: str | None,
    count: int | None,
    dry_run: bool,
    capture: bool,
) -> None:
    """Sign FILE as SOURCE's provider would, and post it. Without FILE a sample is sent; - is standard input.

    Prints the answer; exit 1 unless it is a 2xx.

    \b
      tidegate send github --list
      tidegate send github --type issues.opened
      tidegate send github push.json -H 'X-GitHub-Event: push'
    """
    settings = context.settings()
    found = _source(source, settings)
    words = declarations.of_source(source, settings)
    if as_list:
        for kind in dict.fromkeys(sample.type for sample in words.samples):
            click.echo(kind)
        if not words.samples:
            click.echo(f"there is no sample of {found.adapter.provider}: give a FILE", err=True)
        return
    if count is not None and (file is not None or message_id is not None or dry_run or capture):
        raise click.UsageError(
            "--count posts samples, each with an id of its own: without FILE, --message-id, --dry-run, --capture"
        )
    drafts = _Drafts(found, words, settings, event_type, headers, url, message_id)
    body = file.read() if file is not None else None
    if dry_run or capture:
        now_seconds = time.time()
        signed = drafts.signed(body, now_seconds)
        click.echo(printed.captured(signed, found.adapter.provider, now_seconds) if capture else printed.curl(signed))
    elif count is not None:
        sys.exit(0 if asyncio.run(_post_many(drafts, count)) else 1)
    else:
        answer = asyncio.run(posting.post(drafts.signed(body)))
        click.echo(f"{answer.status} {answer.text}".rstrip())
        sys.exit(0 if answer.accepted else 1)


def _source(name: str, settings: Settings) -> Source:
    configured = service.sources(settings)
    if name not in configured:
        raise UsageError(f"no source {name!r} in the settings; there are: {', '.join(sorted(configured)) or 'none'}")
    return configured[name]


@dataclass(frozen=True, slots=True)
class _Drafts:
    """Makes requests, each a new one, of what the command line says."""

    source: Source
    words: Declaration
    settings: Settings
    event_type: str | None
    headers: Sequence[tuple[str, str]]
    url: str | None
    message_id: str | None

    def signed(self, body: bytes | None, now_seconds: float | None = None) -> posting.Signed:
        """Return ``body`` signed, a new sample where None."""
        if body is None:
            made = payloads.sample(self.words, event_type=self.event_type, headers=self.headers)
        else:
            made = payloads.of_file(self.words, body, event_type=self.event_type, headers=self.headers)
        return posting.sign(
            self.source,
            made.body,
            self.settings,
            url=self.url,
            message_id=self.message_id,
            headers=made.headers,
            now_seconds=now_seconds,
        )


async def _post_many(drafts: _Drafts, count: int) -> bool:
    """Post ``count`` samples one after the other, print how often each answer came; return whether all were taken."""
    answers: Counter[str] = Counter()
    good = True
    # A bar is for who waits; in a log it is noise.
    console = Console(stderr=True)
    for _ in track(range(count), "posting", console=console, transient=True, disable=not console.is_terminal):
        answer = await posting.post(drafts.signed(None))
        good = good and answer.accepted
        answers[f"{answer.status} {answer.reason}"] += 1
    for told, times in answers.most_common():
        click.echo(f"{times:,} x {told}")
    return good
