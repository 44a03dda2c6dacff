"""`tidegate send`"""

from __future__ import annotations

import asyncio
import io
import secrets
import sys
import time
from typing import BinaryIO

import aiohttp
import click

from ingest import service
from tidegate.cli.context import Context
from tidegate.errors import UnreachableError, UsageError

_SAMPLES = {
    "lemlist": '{"_id": "act_%(id)s", "type": "emailsOpened", "createdAt": "%(at)s", "teamId": "tea_sample"}',
    "hubspot": '[{"eventId": %(number)d, "subscriptionId": 1, "portalId": 62515, "appId": 1, "occurredAt": %(ms)d, '
    '"subscriptionType": "contact.creation", "attemptNumber": 0, "objectId": 123, "changeSource": "CRM"}]',
    "standard-webhooks": '{"type": "sample.event", "timestamp": "%(at)s", "data": {"id": "%(id)s"}}',
}
_SAMPLES["svix"] = _SAMPLES["standard-webhooks"]


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
    target = url or f"http://127.0.0.1:{settings.ingest.port}/webhooks/{source}"
    body = file.read() if file else _sample(found.adapter.provider)
    headers, body = found.adapter.sign(
        body,
        url=found.public_url or target,  # what is signed is the URL the provider was told, wherever we post to
        now_seconds=time.time(),
        message_id=message_id or f"msg_{secrets.token_hex(10)}",
    )
    status, answer = asyncio.run(_post(target, headers, body))
    click.echo(f"{status} {answer}")
    sys.exit(0 if 200 <= status < 300 else 1)


async def _post(url: str, headers: list[tuple[str, str]], body: bytes) -> tuple[int, str]:
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session:
            async with session.post(url, data=io.BytesIO(body), headers=headers) as answer:
                return answer.status, await answer.text()
    except aiohttp.InvalidURL:
        raise UsageError(f"{url!r} is not a URL") from None
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UnreachableError(
            f"the gate at {url} does not answer ({error}): start it with `tidegate ingest`"
        ) from None


def _sample(provider: str) -> bytes:
    now = time.time()
    values = {
        "id": secrets.token_hex(8),
        "number": secrets.randbelow(10**9),
        "ms": int(now * 1000),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
    }
    return (_SAMPLES[provider] % values).encode()
