"""What every command needs: settings, logs, connections, and how to run a coroutine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from redis.exceptions import RedisError

from tidegate import postgres, serving
from tidegate.errors import TidegateError, UnreachableError, UsageError
from tidegate.postgres import Connection, Kind, classify, schema
from tidegate.settings import Settings, load
from tidegate.stream import UNAVAILABLE, Stream, connect, require
from tidegate.telemetry import logs, redaction

T = TypeVar("T")


class Context:
    """Made by the command group; commands receive it through ``click.pass_obj``."""

    def __init__(self, config: Path | None) -> None:
        self.config = config

    def settings(self, **arguments: Any) -> Settings:
        """Read the settings, with ``arguments`` (None left out) over them, and start logging."""
        settings = load(self.config, **arguments)
        logs.configure(settings.log_level, settings.log_format)
        return settings

    @staticmethod
    def run(main: Coroutine[Any, Any, T]) -> T:
        """Run ``main`` on uvloop; a server that goes away in the middle ends as one line, not as a traceback."""
        try:
            return serving.run(main)
        except UNAVAILABLE as error:
            raise UnreachableError(f"lost the connection: {error}") from error
        except RedisError as error:
            raise TidegateError(f"Redis refused: {error}") from error
        except psycopg.Error as error:
            text = redaction.text(" ".join(str(error).split()))
            if classify(error) is Kind.TRANSIENT:
                raise UnreachableError(f"Postgres gave up: {text}") from error
            raise TidegateError(f"Postgres refused: {text}") from error
        except UnicodeEncodeError as error:
            raise UsageError(f"an argument is not text: {error.reason}") from error


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given on the command line."""
    return {name: value for name, value in options.items() if value is not None}


@asynccontextmanager
async def opened_postgres(settings: Settings, application: str, *, checked: bool = True) -> AsyncIterator[Connection]:
    """Yield one connection whose schema is ours (unless ``checked`` is False)."""
    async with await postgres.connect(settings.require_postgres(), settings.postgres, application) as connection:
        if checked:
            await schema.check(connection)
        yield connection


@asynccontextmanager
async def opened_stream(settings: Settings) -> AsyncIterator[Stream]:
    """Yield the streams, on a Redis that answers."""
    url = settings.require_redis()
    client = connect(url, timeout_seconds=settings.stream.timeout_seconds)
    try:
        await require(client, url)
        yield Stream.of(client, settings.stream)
    finally:
        await client.aclose()
