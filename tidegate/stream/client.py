"""Connections to Redis, with every time-out set on purpose."""

from __future__ import annotations

from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, OutOfMemoryError, RedisError, ResponseError

from tidegate.errors import UnreachableError, UsageError
from tidegate.telemetry.redaction import without_password

Client = redis.Redis
UNAVAILABLE = (redis.ConnectionError, redis.TimeoutError, OSError, TimeoutError)
"""What redis-py raises when the server is away, slow, or cut off in the middle of an answer."""


def connect(url: str, *, timeout_seconds: float, max_connections: int = 50, block_seconds: float = 0.0) -> Client:
    """Return a client that never repeats a command by itself: whether repeating is safe is the caller's knowledge.

    ``block_seconds`` is the longest BLOCK it will be asked for: the socket waits that much longer, or every idle read
    would end as a time-out. Raises UsageError for a URL redis-py does not understand.
    """
    try:
        client: Client = redis.Redis.from_url(
            url,
            socket_timeout=timeout_seconds + block_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            max_connections=max_connections,
            protocol=2,  # replies as flat lists: the hot read is parsed by hand
            client_name="tidegate",
        )
    except ValueError as error:
        raise UsageError(f"redis_url is not a Redis URL: {error} (expected redis://, rediss:// or unix://)") from None
    # Raw replies: redis-py's parsers make a dictionary an entry, and refuse the IDLE form of XPENDING.
    for command in ("XREADGROUP", "XPENDING", "XCLAIM"):
        client.response_callbacks.pop(command, None)
    return client


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether Redis refused a write for lack of memory; inside a script 6.2 says so in the middle of another error."""
    return isinstance(error, OutOfMemoryError) or (isinstance(error, ResponseError) and "OOM command" in str(error))


async def require(client: Client, url: str) -> dict[str, Any]:
    """Return INFO server of a Redis that answers; raise UnreachableError or UsageError in one line otherwise."""
    where = without_password(url)
    try:
        info: dict[str, Any] = await client.info("server")
    except AuthenticationError as error:
        raise UsageError(f"Redis at {where} refused the password: {error}") from None
    except UNAVAILABLE as error:
        raise UnreachableError(
            f"Redis at {where} does not answer ({error}): start it, or set TIDEGATE_REDIS_URL"
        ) from None
    except RedisError as error:
        raise UnreachableError(f"Redis at {where} cannot be used: {error}") from None
    version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    if version < (6, 2):
        raise UsageError(f"Redis at {where} is {info['redis_version']}: 6.2 or newer is needed")
    return info
