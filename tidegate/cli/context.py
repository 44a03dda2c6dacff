"""What every command needs: settings, logs, connections, and how to run a coroutine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from tidegate import postgres, serving
from tidegate.errors import UnreachableError
from tidegate.postgres import Connection, schema
from tidegate.settings import Settings, load
from tidegate.stream import UNAVAILABLE, Stream, connect, require
from tidegate.telemetry import logs

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
