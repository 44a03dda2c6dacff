"""One signed request to a gate, as a provider would send it."""

from __future__ import annotations

import io
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aiohttp

from ingest.adapters.base import Request
from ingest.evidence import OWN_AGENT
from ingest.source import Source
from tidegate import __version__
from tidegate.errors import UnreachableError, UsageError
from tidegate.settings import Settings


@dataclass(frozen=True, slots=True)
class Signed:
    """A request that is ready to go to ``url``; ``request`` is as the provider signed it, ``headers`` as it is sent."""

    url: str
    request: Request
    headers: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gate said. Names of headers in any case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    text: str
    seconds: float

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


def sign(
    source: Source,
    body: bytes,
    settings: Settings,
    *,
    url: str | None = None,
    message_id: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    now_seconds: float | None = None,
) -> Signed:
    """Sign ``body`` as the provider of ``source`` would, for the gate at ``url``, else the one on this machine.

    ``headers`` are sent as they are, whatever the provider would put there. Raises UsageError where nobody but the
    provider can sign.
    """
    adapter = source.adapter
    target = url or f"http://127.0.0.1:{settings.ingest.port}/webhooks/{source.name}"
    told = source.public_url or target  # what is signed is the URL the provider was told, wherever we post to
    named = message_id or f"msg_{secrets.token_hex(10)}"
    made, signed = adapter.sign(
        body, url=told, now_seconds=now_seconds or time.time(), message_id=named, headers=headers
    )
    given = {name.lower() for name, _ in headers}
    sent = [*(pair for pair in made if pair[0].lower() not in given), *headers]
    request = Request("POST", adapter.called(told), [(name.lower(), value) for name, value in sent], signed)
    return Signed(adapter.called(target), request, sent)


async def post(signed: Signed, *, timeout_seconds: float = 30.0, redirects: bool = True) -> Answer:
    """Post ``signed``; raise UnreachableError when nobody answers in time, UsageError when its URL is none."""
    url = signed.url
    started = time.monotonic()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(timeout_seconds)) as session:
            body = io.BytesIO(signed.request.body)  # aiohttp sends large bytes in one blocking write
            headers = list(signed.headers)
            if not any(name.lower() == "user-agent" for name, _ in headers):
                headers.append(
                    ("User-Agent", f"{OWN_AGENT}{__version__}")
                )  # no evidence of what the provider signs with
            async with session.post(url, data=body, headers=headers, allow_redirects=redirects) as answer:
                text = await answer.text(errors="replace")
                seconds = time.monotonic() - started
                return Answer(answer.status, answer.reason or "", dict(answer.headers), text, seconds)
    except aiohttp.InvalidURL:
        raise UsageError(f"{url!r} is not a URL") from None
    except (aiohttp.ClientError, TimeoutError) as error:
        said = str(error) or f"nothing for {timeout_seconds:g} s"
        raise UnreachableError(f"the gate at {url} does not answer ({said}): start it with `tidegate ingest`") from None
