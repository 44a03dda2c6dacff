"""The admin API and the console as a process: connect, check, listen, serve."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import AsyncExitStack

import psycopg
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from dlq import api, console
from dlq.access import Access
from dlq.desk import Desk
from dlq.security import SecurityHeaders
from tidegate import postgres
from tidegate.errors import UsageError
from tidegate.postgres import Pool, schema
from tidegate.serving import on_stop_signals, server
from tidegate.settings import Settings, reveal
from tidegate.stream import UNAVAILABLE, Client, Stream, connect, require
from tidegate.telemetry import health, logs

log = logs.get(__name__)

PROXIES = ("127.0.0.1", "::1")
"""Whose X-Forwarded-Proto is believed: the console listens on this host, and what ends TLS before it does too."""


def admin_token(settings: Settings) -> str:
    """Return the admin token; raise UsageError naming the variable when there is none: nothing here is for everybody."""
    token = reveal(settings.admin_token, "admin_token") if settings.admin_token else ""
    if not token.strip():
        raise UsageError(
            "no admin token: set TIDEGATE_ADMIN_TOKEN (or admin_token in tidegate.toml) to something long and random, "
            "e.g. from `openssl rand -hex 32`"
        )
    return token


def application(desk: Desk, access: Access, ready: health.Check = health.fine) -> Starlette:
    """Return everything on this port: /livez, /readyz and /metrics, the API, and the console."""
    return Starlette(
        routes=[
            *health.application(ready=ready).routes,
            Mount("/api", api.application(desk, access)),
            Mount("/static", StaticFiles(packages=[("dlq", "static")])),
            Mount("/", console.application(desk, access)),
        ],
        middleware=[Middleware(SecurityHeaders)],
    )


class _Readiness:
    """Whether Redis and Postgres answer, asked at most once a second however often we are."""

    def __init__(self, client: Client, pool: Pool) -> None:
        self._client = client
        self._pool = pool
        self._asked_at = float("-inf")
        self._wrong: dict[str, str] = {}
        self.stopping = False

    async def __call__(self) -> dict[str, str]:
        if self.stopping:
            return {"console": "stopping"}
        if time.monotonic() - self._asked_at > 1:
            self._asked_at = time.monotonic()
            redis, database = await asyncio.gather(self._redis(), self._postgres())
            self._wrong = redis | database
        return self._wrong

    async def _redis(self) -> dict[str, str]:
        try:
            await self._client.ping()
        except (*UNAVAILABLE, RedisError) as error:
            return {"redis": type(error).__name__}
        return {}

    async def _postgres(self) -> dict[str, str]:
        try:
            async with self._pool.connection(timeout=2):
                return {}
        except psycopg.Error as error:
            return {"postgres": type(error).__name__}


async def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve the admin API and the console on ``listener`` until SIGTERM or SIGINT.

    Raises UsageError or UnreachableError before the first request is accepted.
    """
    access = Access(admin_token(settings))
    redis_url, postgres_url = settings.require_redis(), settings.require_postgres()
    async with AsyncExitStack() as stack:
        client = connect(redis_url, timeout_seconds=settings.stream.timeout_seconds)
        stack.push_async_callback(client.aclose)
        await require(client, redis_url)
        async with await postgres.connect(postgres_url, settings.postgres, "tidegate console") as probe:
            await schema.check(probe)
        pool = await stack.enter_async_context(postgres.pool(postgres_url, settings.postgres, "tidegate console"))
        ready = _Readiness(client, pool)
        desk = Desk(Stream.of(client, settings.stream), pool)
        console_server = server(application(desk, access, ready), trusted_proxies=PROXIES)

        def stop() -> None:
            ready.stopping = True
            console_server.stop()

        on_stop_signals(stop)
        host, port = listener.getsockname()[:2]
        log.info("console listens", host=host, port=port)
        await console_server.serve(sockets=[listener])
        log.info("console stopped")
