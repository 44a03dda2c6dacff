"""How the streams call Redis: scripts, a time limit on everything, and repeating where it is safe."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol, Self, TypeVar, cast

from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, RedisError, ResponseError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from tidegate.settings import IngestSettings, StreamSettings
from tidegate.stream.client import UNAVAILABLE, Client
from tidegate.stream.keys import GROUP, Keys, shard_of

T = TypeVar("T")

# Plain, and as Redis 6.2 tells it of a command inside a script: "Error running script (call to f_..): ..: -NOGROUP No such"
_NOGROUP = re.compile(r"(?:^|: ?-?)NOGROUP ")


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas must have what an append wrote, and how long to wait for that."""

    count: int
    wait_ms: int

    @classmethod
    def of(cls, settings: IngestSettings) -> Self | None:
        """Return what ``settings`` ask for; None: the primary alone is enough."""
        return cls(settings.wait_replicas, settings.wait_replicas_ms) if settings.wait_replicas else None


class NotReplicatedError(RedisError):
    """Fewer replicas than asked for said in time that they have it. It may be there all the same."""


class Script(Protocol):
    """A registered Lua script, as redis-py makes it."""

    def __call__(self, keys: Sequence[Any], args: Sequence[Any], client: Client | None = None) -> Awaitable[Any]: ...


def is_nogroup(error: BaseException) -> bool:
    """Tell whether Redis has no such consumer group (any more): after a flush, a fail-over, or before the first worker."""
    return isinstance(error, ResponseError) and _NOGROUP.search(str(error)) is not None


async def command(client: Client, *parts: Any) -> Any:
    """Send a command whose reply is wanted as it is."""
    return await client.execute_command(*parts)  # type: ignore[no-untyped-call]


async def limited(call: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Return what ``call`` returns; raise TimeoutError after ``seconds``.

    The socket's own time-out starts anew with each byte: a connection that trickles would hold us for ever.
    """
    async with asyncio.timeout(seconds):
        try:
            return await call()
        except RuntimeError as error:
            # What uvloop says to who writes on a connection that was just reset; redis-py lets it through.
            if "closed" not in str(error):
                raise
            raise ConnectionError(f"the connection to Redis was lost: {error}") from error


class Calls:
    """Calls to ``shards`` shards named under ``prefix``.

    Each call may take ``call_seconds``, whatever the socket does; one that may be repeated is, for ``repeat_seconds``.
    """

    def __init__(
        self,
        client: Client,
        *,
        prefix: str,
        shards: int,
        seen_seconds: int = 86_400,
        waiting_ttl_seconds: int = 86_400,
        repeat_seconds: float = 5.0,
        call_seconds: float = 10.0,
        replicas: Replicas | None = None,
    ) -> None:
        self.client = client
        self.keys = [Keys(prefix, shard) for shard in range(shards)]
        self._seen_seconds = seen_seconds
        self._waiting_ttl_seconds = waiting_ttl_seconds
        self._repeat_seconds = repeat_seconds
        self._call_seconds = call_seconds
        self._replicas = replicas
        self._wait = "WAITAOF"
        self._scripts: dict[str, Script] = {
            path.name.removesuffix(".lua"): cast(Script, client.register_script(path.read_text()))
            for path in resources.files("tidegate.stream").joinpath("lua").iterdir()
            if path.name.endswith(".lua")
        }

    @classmethod
    def of(
        cls,
        client: Client,
        settings: StreamSettings,
        *,
        waiting_ttl_seconds: int = 86_400,
        call_seconds: float | None = None,
        replicas: Replicas | None = None,
    ) -> Self:
        """Return the streams ``settings`` describe. A call, and its repeats together, may take ``call_seconds``.

        Without that they may take the time-out of the settings, and a call twice that.
        """
        return cls(
            client,
            prefix=settings.prefix,
            shards=settings.shards,
            seen_seconds=settings.seen_seconds,
            waiting_ttl_seconds=waiting_ttl_seconds,
            repeat_seconds=call_seconds or settings.timeout_seconds,
            call_seconds=call_seconds or 2 * settings.timeout_seconds,  # to connect, and to be answered
            replicas=replicas,
        )

    def shard_of(self, source: str, provider_event_id: str) -> int:
        """Return the shard an event belongs to."""
        return shard_of(source, provider_event_id, len(self.keys))

    async def ensure_group(self, shard: int) -> bool:
        """Make the consumer group from the first entry on; return whether it was missing.

        From ``0`` and never ``$``: what the gate accepted before the first worker came must not be skipped.
        """
        try:
            # Repeated: the second time the group is there already.
            await self._repeat(lambda: self.client.xgroup_create(self.keys[shard].events, GROUP, id="0", mkstream=True))
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
            return False
        return True

    async def _move(self, name: str, keys: Sequence[Any], args: Sequence[Any], *, on: Client | None = None) -> Any:
        """Run a script that may be run twice; its header says why."""
        script = self._scripts[name]
        return await self._repeat(lambda: script(keys, args, on))

    async def _move_once(self, name: str, keys: Sequence[Any], args: Sequence[Any], *, on: Client | None = None) -> Any:
        script = self._scripts[name]
        return await self._limited(lambda: script(keys, args, on))

    async def _move_replicated(self, name: str, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        """Run a script that may be run twice, and return once as many replicas as asked for have what it wrote.

        Or had before: who repeats it because the first time too few answered must not be told yes for doing nothing.
        """
        replicas = self._replicas
        if replicas is None:
            return await self._move(name, keys, args)
        script = self._scripts[name]

        async def call() -> Any:
            async with self.client.pipeline(
                transaction=False
            ) as pipe:  # on one connection: WAIT is about its own writes
                await script(keys, args, pipe)
                self._queue_wait(pipe, replicas)
                answers = await pipe.execute(raise_on_error=False)
            if isinstance(answers[0], BaseException):
                raise answers[0]
            self._check_replicated(answers, replicas)
            return answers[0]

        return await self._repeat(call)

    async def probe(self) -> None:
        """Write a key on every shard, and to as many replicas as asked for; raise what redis-py does when that fails."""
        for keys in self.keys:
            async with self.client.pipeline(transaction=False) as pipe:
                pipe.set(keys.turn("probe"), b"", px=1000)
                if self._replicas is not None:
                    self._queue_wait(pipe, self._replicas)
                answers = await self._limited(lambda: pipe.execute(raise_on_error=False))
            if isinstance(answers[0], BaseException):
                raise answers[0]
            if self._replicas is not None:
                self._check_replicated(answers, self._replicas)

    def _queue_wait(self, pipe: Any, replicas: Replicas) -> None:
        if self._wait == "WAIT":
            pipe.execute_command("WAIT", replicas.count, replicas.wait_ms)
            return
        # A replica tells what it has on disk when it is asked, or once a second; asked in the moment it receives the write it
        # has not written it yet. So first until it has it, then until it has it on disk: milliseconds instead of a second.
        half_ms = max(1, replicas.wait_ms // 2)
        pipe.execute_command("WAIT", replicas.count, half_ms)
        pipe.execute_command("WAITAOF", 0, replicas.count, half_ms)

    def _check_replicated(self, answers: Sequence[Any], replicas: Replicas) -> None:
        told = answers[-1]
        if isinstance(told, ResponseError) and "unknown command" in str(told).lower():
            self._wait = "WAIT"  # before 7.2: the replicas have it in memory, as the answer before says
            told = answers[-2]
        if isinstance(told, BaseException):
            raise told
        reached = told[1] if isinstance(told, list | tuple) else told
        if reached < replicas.count:
            raise NotReplicatedError(
                f"{reached} of {replicas.count} replicas had it {'on disk ' if self._wait == 'WAITAOF' else ''}"
                f"after {replicas.wait_ms} ms"
            )

    async def _repeat(self, call: Callable[[], Awaitable[T]]) -> T:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((*UNAVAILABLE, BusyLoadingError, ReadOnlyError)),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            stop=stop_after_delay(self._repeat_seconds),
            reraise=True,
        ):
            with attempt:
                return await self._limited(call)
        raise AssertionError("tenacity returns or raises")

    async def _limited(self, call: Callable[[], Awaitable[T]], *, block_ms: int | None = None) -> T:
        return await limited(call, self._call_seconds + (block_ms or 0) / 1000)
