"""Request bodies, bounded before they are in memory."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

BYTES_MAX = 16_384
"""Three times what a hundred ids take."""


async def read(request: Request) -> bytes:
    """Return the body; raise 413 as soon as it is longer than BYTES_MAX, whatever Content-Length said."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BYTES_MAX:
                raise HTTPException(413, f"The body is longer than {BYTES_MAX:,} bytes")
    except ClientDisconnect:
        raise HTTPException(400, "The body ended too early") from None
    return body


async def read_form(request: Request) -> dict[str, list[str]]:
    """Return the fields of an HTML form; raise 415 for anything else."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "Only forms are taken here")
    return parse_qs((await read(request)).decode("utf-8", "replace"), keep_blank_values=True)
