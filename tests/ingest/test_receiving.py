"""Slow and large senders are bounded one by one and together, and the quick ones do not pay for them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ingest.problems import ProblemError
from ingest.receiving import GoneError, Receiving
from tests.fixtures import until


class Client:
    """What uvicorn's `receive` is to the gate: gives the chunks it is fed, and waits for more."""

    def __init__(self, *chunks: bytes, last: bool = False) -> None:
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for number, chunk in enumerate(chunks, start=1):
            self.feed(chunk, last=last and number == len(chunks))

    def feed(self, chunk: bytes, *, last: bool = False) -> None:
        self._messages.put_nowait({"type": "http.request", "body": chunk, "more_body": not last})

    def go(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def __call__(self) -> dict[str, Any]:
        return await self._messages.get()

    @property
    def is_read(self) -> bool:
        return self._messages.empty()


def receiving(**changed: Any) -> Receiving:
    return Receiving(**{"body_bytes_max": 1000, "bytes_max": 3000, "count_max": 10, "body_seconds": 20.0} | changed)


async def status_of(task: asyncio.Task[bytes]) -> int:
    return (await error_of(task)).problem.status


async def error_of(task: asyncio.Task[bytes]) -> ProblemError:
    with pytest.raises(ProblemError) as raised:
        await task
    return raised.value


async def read(*clients: Client) -> None:
    async def all_read() -> bool:
        return all(client.is_read for client in clients)

    await until(all_read)


async def test_a_body_comes_whole_in_one_piece_or_many() -> None:
    bodies = receiving()
    assert await bodies.body(Client(b"whole", last=True)) == b"whole"
    assert await bodies.body(Client(b"a", b"b", b"", b"c", last=True)) == b"abc"
    assert await bodies.body(Client(b"", last=True)) == b""


async def test_one_byte_too_many_is_413_and_exactly_the_limit_is_fine() -> None:
    bodies = receiving()
    assert len(await bodies.body(Client(b"a" * 600, b"a" * 400, last=True))) == 1000
    assert await status_of(asyncio.create_task(bodies.body(Client(b"a" * 600, b"a" * 401)))) == 413


async def test_who_dawdles_is_408_and_who_hangs_up_is_nobody() -> None:
    bodies = receiving(body_seconds=0.01)
    slow = await error_of(asyncio.create_task(bodies.body(Client(b"a"))))
    assert slow.problem.status == 408
    assert "body_seconds" in slow.detail
    gone = Client(b"a")
    gone.go()
    with pytest.raises(GoneError):
        await bodies.body(gone)
    assert (bodies._bytes, len(bodies._bodies)) == (0, 0)


async def test_above_the_bytes_of_all_the_slowest_is_given_up_and_only_as_many_as_needed() -> None:
    bodies = receiving()
    slow = [Client(b"s" * 900) for _ in range(3)]
    tasks = [asyncio.create_task(bodies.body(client)) for client in slow]
    await read(*slow)
    quick = Client(b"q" * 700)
    task = asyncio.create_task(bodies.body(quick))
    await read(quick)
    quick.feed(b"q", last=True)
    assert await task == b"q" * 701
    assert await status_of(tasks[0]) == 408
    for client, other in zip(slow[1:], tasks[1:], strict=True):
        client.feed(b"", last=True)
        assert await other == b"s" * 900
    assert (bodies._bytes, len(bodies._bodies)) == (0, 0)


async def test_above_the_count_the_one_that_has_taken_longest_is_given_up() -> None:
    bodies = receiving(count_max=2)
    clients = [Client() for _ in range(3)]
    tasks = [asyncio.create_task(bodies.body(client)) for client in clients]
    assert await status_of(tasks[0]) == 408
    for client, task in zip(clients[1:], tasks[1:], strict=True):
        client.feed(b"x", last=True)
        assert await task == b"x"


async def test_room_is_made_only_of_bodies_under_way() -> None:
    bodies = receiving()
    assert not bodies.make_room()
    task = asyncio.create_task(bodies.body(Client()))
    await asyncio.sleep(0)
    assert bodies.make_room()
    gave_way = await error_of(task)
    assert gave_way.problem.status == 408
    assert "made room" in gave_way.detail, "who looks for the provider's fault would look in vain"
