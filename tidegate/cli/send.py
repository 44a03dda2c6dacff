"""`tidegate send`"""

from __future__ import annotations

import asyncio
import sys
from typing import BinaryIO

import click

from ingest import service
from tidegate.cli import posting
from tidegate.cli.context import Context
from tidegate.cli.samples import sample
from tidegate.errors import UsageError


@click.command("send")
@click.argument("source")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--url", help="Where to. [default: the gate on this machine]")
@click.option("--message-id", help="Id of the message, for providers that send one. [default: a new one]")
@click.pass_obj
def command(context: Context, source: str, file: BinaryIO | None, url: str | None, message_id: str | None) -> None:
    """Sign FILE (a sample payload without it, - for standard input) as SOURCE's provider would, and post it.

    Prints the answer; exit 1 unless it is a 2xx.
    """
    settings = context.settings()
    configured = service.sources(settings)
    if source not in configured:
        raise UsageError(f"no source {source!r} in the settings; there are: {', '.join(sorted(configured)) or 'none'}")
    found = configured[source]
    body = file.read() if file else sample(found.adapter.provider)
    signed = posting.sign(found, body, settings, url=url, message_id=message_id)
    answer = asyncio.run(posting.post(signed))
    click.echo(f"{answer.status} {answer.text}")
    sys.exit(0 if answer.accepted else 1)
