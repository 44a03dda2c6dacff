"""A process full of clients, good and bad, who offer a gate more than it may take and heed no Retry-After.

| client   | what it does                                                               | of all |
|----------|----------------------------------------------------------------------------|--------|
| sender   | sends, reads the answer, sends the next at once                            | 70 %   |
| dawdler  | sends a head byte by byte                                                  | 10 %   |
| trickler | sends most of a large body, and the rest byte by byte                      | 10 %   |
| mute     | sends, and never reads an answer                                           | 5 %    |
| fickle   | hangs up in the middle of a body, or before the answer                     | 5 %    |

Told what to do by a line of JSON on standard input, and to begin by another line; the end of the input is the end. Says when it
is ready, each second what was answered so far, and at the end what was accepted: also lines of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.chaos.requests import KIB, Requests
from tidegate import serving

ANSWER_SECONDS = 30.0
"""Longer than any limit of the gate's: who waits so long is not going to be answered."""
MUTE_SECONDS = 12.0
LINE_BYTES_MAX = 256 << 20
ROOT = Path(__file__).parents[2]
STEP_SECONDS = 0.25
"""Between two bytes of whoever is slow."""
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Order:
    """``clients`` of all sorts to 127.0.0.1:``port``."""

    port: int
    secret: str
    name: str
    seed: int
    clients: int


class Crowd:
    def __init__(self, order: Order) -> None:
        self.answers: Counter[str] = Counter()
        """By status and what it says of itself: the tier of a 202, the name of a problem."""
        self.accepted: set[str] = set()
        self.ends: Counter[str] = Counter()
        """Connections that ended without an answer, by client and how."""
        self._order = order
        self._requests = Requests(order.secret, name=order.name, chance=random.Random(order.seed))
        self._chance = random.Random(order.seed)

    def report(self, *, accepted: bool = False) -> dict[str, Any]:
        """Return what came of it so far."""
        told = {"answers": self.answers, "ends": self.ends}
        return told | {"accepted": sorted(self.accepted)} if accepted else told

    async def run(self, ending: asyncio.Event) -> None:
        """Press on until ``ending``."""
        clients: list[tuple[str, Callable[[], Awaitable[None]], float]] = [
            ("dawdler", self._dawdle, 0.1),
            ("trickler", self._trickle, 0.1),
            ("mute", self._say_and_never_read, 0.05),
            ("fickle", self._hang_up, 0.05),
        ]
        made = [client for client in clients for _ in range(round(client[2] * self._order.clients))]
        made += [("sender", self._send, 1.0)] * (self._order.clients - len(made))
        tasks = [asyncio.create_task(self._again_and_again(who, act)) for who, act, _ in made]
        await ending.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _again_and_again(self, who: str, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await act()
            except ConnectionRefusedError:
                self.ends[f"{who}: connection refused"] += 1
                await asyncio.sleep(1)
            except (OSError, asyncio.IncompleteReadError):
                self.ends[f"{who}: broken off"] += 1
            except TimeoutError:
                self.ends[f"{who}: no answer"] += 1
            await asyncio.sleep(0)

    async def _send(self) -> None:
        async with self._connection() as (reader, writer):
            while True:
                name, pieces = self._requests.next()
                writer.writelines(pieces)
                async with asyncio.timeout(ANSWER_SECONDS):
                    if await self._answer(reader, name, to="a sender"):
                        return

    async def _dawdle(self) -> None:
        name, pieces = self._requests.next("small")
        async with self._connection() as (reader, writer):
            await self._slowly(reader, writer, name, [bytes([byte]) for byte in pieces[0]])

    async def _trickle(self) -> None:
        name, pieces = self._requests.next(self._chance.choice(["middling", "text", "records"]))
        async with self._connection() as (reader, writer):
            body = b"".join(pieces)
            writer.write(body[: -16 * KIB])
            await self._slowly(reader, writer, name, [body[at : at + 1] for at in range(-16 * KIB, -1)])

    async def _slowly(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, bits: list[bytes]
    ) -> None:
        answering = asyncio.create_task(self._answer(reader, name))
        try:
            for bit in bits:
                writer.write(bit)
                done, _ = await asyncio.wait([answering], timeout=STEP_SECONDS)
                if done:
                    break
            async with asyncio.timeout(ANSWER_SECONDS):
                await answering
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    async def _say_and_never_read(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MUTE_SECONDS), self._connection(limit=1) as (_, writer):
                while True:
                    writer.writelines(self._requests.next("small")[1])
                    await writer.drain()
                    await asyncio.sleep(0.02)

    async def _hang_up(self) -> None:
        _, pieces = self._requests.next(self._chance.choice(["small", "middling", "text"]))
        whole = b"".join(pieces)
        async with self._connection() as (_, writer):
            writer.write(whole[: len(whole) // self._chance.randint(1, 2)])
            await asyncio.sleep(self._chance.uniform(0, 0.2))

    async def _answer(self, reader: asyncio.StreamReader, name: str, *, to: str = "") -> bool:
        """Take down an answer; return whether it is the last on this connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = head.split(" ", 2)[1]
        pairs = (line.partition(": ") for line in head.split("\r\n")[1:])
        headers = {key.lower(): value for key, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if status == "202":
            self.accepted.add(name)
            said = headers.get("tidegate-durability", "nowhere")
        else:
            said = str(json.loads(body).get("type", "")).removeprefix("urn:tidegate:problem:")
            if status == "503" and not int(headers.get("retry-after", 0)):
                said += ", without Retry-After"
            if status == "408" and to:
                said += f", to {to}"
        self.answers[f"{status} {said}"] += 1
        return headers.get("connection") == "close"

    @contextlib.asynccontextmanager
    async def _connection(self, **options: Any) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._order.port, **options)
        try:
            # Closed with a reset: thousands a second that linger would use up this machine's ports.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            yield reader, writer
        finally:
            writer.transport.abort()


async def _main() -> None:
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    crowd = Crowd(Order(**json.loads(await stdin.readline())))
    _say(crowd.report())  # the requests are made
    if not await stdin.readline():
        return
    ending = asyncio.Event()
    running = asyncio.create_task(crowd.run(ending))
    listening = asyncio.create_task(stdin.read())
    while not (await asyncio.wait([listening, running], timeout=1, return_when=asyncio.FIRST_COMPLETED))[0]:
        _say(crowd.report())
    ending.set()
    await running
    _say(crowd.report(accepted=True))


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


class CrowdProcess:
    """One such process, as its starter sees it. ``answers`` are those so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.answers: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.accepted: set[str] = set()
        self._process = process
        self._hearing = asyncio.create_task(self._hear())
        self._ready = asyncio.Event()

    @classmethod
    async def start(cls, order: Order) -> CrowdProcess:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
            cwd=ROOT,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        await process.stdin.drain()
        started = cls(process)
        await started._ready.wait()
        return started

    def press_on(self) -> None:
        """Let it begin; said again it changes nothing."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    async def stop(self) -> None:
        """End it; return once it has said what was accepted. Raises RuntimeError when it does not say so."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._hearing
        if await self._process.wait():
            raise RuntimeError(f"a process of clients failed: exit {self._process.returncode}")

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            self.answers, self.ends = Counter(told["answers"]), Counter(told["ends"])
            self.accepted = set(told.get("accepted", ()))
            self._ready.set()


if __name__ == "__main__":
    serving.run(_main())
