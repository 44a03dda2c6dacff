"""How an answer goes out."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.head import Head

Header = tuple[bytes, bytes]

HARDENING: list[Header] = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
]
"""On everything. There is no Access-Control header anywhere: pages of other origins may not read what we say."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers without length, body."""

    status: int
    headers: list[Header]
    body: bytes


async def send(answer: Answer, head: Head, send: Send, *, hsts_seconds: int, unread: bool) -> None:
    """Send ``answer`` to the request of ``head``; ``unread``: its body was not read to the end."""
    headers = [*answer.headers, *HARDENING, (b"x-request-id", head.request_id.encode())]
    if answer.status == 204:  # without a body, and so without its type
        headers = [pair for pair in headers if pair[0] != b"content-type"]
    else:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    if hsts_seconds and head.scheme == "https":
        headers.append((b"strict-transport-security", f"max-age={hsts_seconds}".encode()))
    if unread:
        # Nobody reads the rest of that body; the protocol lets the answer arrive all the same.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    # After a 204 the server sends no body, and would break the connection off in the middle of ours.
    body = b"" if head.method == "HEAD" or answer.status == 204 else answer.body
    await send({"type": "http.response.body", "body": body})


def hardened(app: ASGIApp) -> ASGIApp:
    """Return ``app`` with the same headers on its answers."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HARDENING]
            await send(message)

        await app(scope, receive, with_headers)

    return wrapped
