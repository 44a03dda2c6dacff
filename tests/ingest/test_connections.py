"""What clients may do to a connection, and that the others never notice.

The attacks go to a gate that is a process of its own; where it matters what the application is doing meanwhile, the server runs
in this process and the application waits for the test.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
from contextlib import AsyncExitStack

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ingest.protocol import GateProtocol
from tests.fixtures import until
from tests.ingest.conftest import Hall, StartHall, StartProcess
from tests.ingest.wire import Answer, GateProcess, Wire, ask, signed

HEAD = b"POST /webhooks/crm HTTP/1.1\r\nHost: gate\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LARGE = 16_384
"""header_bytes_max, by default."""

MALFORMED = {
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello, TLS here\r\n\r\n",
    "method of our own": b"STEAL / HTTP/1.1\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "CONNECT": b"CONNECT somewhere.example:443 HTTP/1.1\r\nHost: somewhere.example\r\n\r\n",
    "absolute form without a path": b"GET http://gate HTTP/1.1\r\nHost: gate\r\n\r\n",
    "path that is not ASCII": "POST /webhooks/crm/é HTTP/1.1\r\nHost: gate\r\n\r\n".encode("latin-1"),
    "query that is not ASCII": "POST /webhooks/crm?é HTTP/1.1\r\nHost: gate\r\n\r\n".encode(),
    "space in the path": b"GET /a b HTTP/1.1\r\n\r\n",
    "NUL in a header": HEAD + b"A: b\x00c\r\n\r\n",
    "folded header": HEAD + b"A: b\r\n c\r\n\r\n",
    "space before the colon": HEAD + b"Content-Length : 0\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: gate\n\n",
    "bare CR in a header": HEAD + b"A: b\rC: d\r\n\r\n",
    "no name": HEAD + b": b\r\n\r\n",
    "no colon": HEAD + b"nonsense\r\n\r\n",
    "conflicting Content-Length": HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "duplicate Content-Length": HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "list in Content-Length": HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
    "negative Content-Length": HEAD + b"Content-Length: -1\r\n\r\n",
    "huge Content-Length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "Content-Length and chunked": HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and Content-Length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "chunked and not last": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "unknown Transfer-Encoding": HEAD + b"Transfer-Encoding: identity\r\n\r\n{}",
    "chunk size is no number": CHUNKED + b"xyz\r\n{}\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "chunk size with 0x": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "chunk size beyond 64 bits": CHUNKED + b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "chunk larger than its size": CHUNKED + b"1\r\n{}\r\n0\r\n\r\n",
    "chunk size ended by LF": CHUNKED + b"2\n{}\r\n0\r\n\r\n",
    "NUL in a trailer": CHUNKED + b"2\r\n{}\r\n0\r\nA: \x00\r\n\r\n",
}

TOO_LARGE = {
    "one byte too many": b"GET / HTTP/1.1\r\nA: ".ljust(LARGE - 3, b"a") + b"\r\n\r\n",
    "giant URL": b"GET /" + b"a" * 10_000_000,
    "giant query": b"GET /?" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "giant method": b"GET" + b" " * 100_000,
    "header that never ends": HEAD + b"A: " + b"a" * 10_000_000,
    "name that never ends": HEAD + b"a" * 1_000_000,
    "too many headers": HEAD + b"".join(b"A%d: b\r\n" % n for n in range(100_000)),
    "blank lines before the request": b"\r\n" * 100_000,
    "chunk extension that never ends": CHUNKED + b"2;a=" + b"a" * 1_000_000,
    "large extensions of tiny chunks": CHUNKED + (b"1;a=" + b"a" * 1000 + b"\r\n \r\n") * 1000,
    "trailer that never ends": CHUNKED + b"2\r\n{}\r\n0\r\nA: " + b"a" * 1_000_000,
    "too many trailers": CHUNKED + b"2\r\n{}\r\n0\r\n" + b"A: b\r\n" * 100_000,
    "chunk size of zeros": CHUNKED + b"0" * 1_000_000,
}


def open_files_allowed(wanted: int) -> int:
    """Return how many of ``wanted`` sockets this process may open beside what it has, raising its limit as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, wanted + 1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return min(wanted, hard - 500)


def guest(hall: Hall) -> GateProtocol:
    """Return the one connection there is."""
    (found,) = hall.connections._open
    assert isinstance(found, GateProtocol)
    return found


def problem(answers: list[Answer]) -> tuple[int, str, bool]:
    """Return status, content type, and whether it was the last word, of the one answer."""
    (answer,) = answers
    assert answer.json["status"] == answer.status
    return answer.status, answer.headers["content-type"], answer.is_last


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_http_is_400_and_a_line_in_no_log(attacked: GateProcess, name: str) -> None:
    assert problem(await ask(attacked.port, MALFORMED[name])) == (400, "application/problem+json", True)
    await attacked.accepts()


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_a_head_or_framing_without_end_is_431_and_nothing_is_kept_of_it(attacked: GateProcess, name: str) -> None:
    before = attacked.rss_bytes
    assert problem(await ask(attacked.port, TOO_LARGE[name])) == (431, "application/problem+json", True)
    assert attacked.rss_bytes - before < 8 * 1024 * 1024
    await attacked.accepts()


async def test_a_head_of_just_the_limit_is_read(attacked: GateProcess) -> None:
    request = b"GET /livez HTTP/1.1\r\nConnection: close\r\nA: ".ljust(LARGE - 4, b"a") + b"\r\n\r\n"
    (answer,) = await ask(attacked.port, request)
    assert answer.status == 200


async def test_a_request_may_come_byte_by_byte_and_in_any_two_parts(attacked: GateProcess) -> None:
    request = signed(connection="close")
    (answer,) = await ask(attacked.port, *(request[n : n + 1] for n in range(len(request))))
    assert answer.status == 202
    for at in range(1, len(request), 17):
        request = signed(connection="close")
        (answer,) = await ask(attacked.port, request[:at], request[at:])
        assert answer.status == 202


async def test_a_chunked_body_is_read_whatever_its_chunks_and_extensions(attacked: GateProcess) -> None:
    request = signed(content_length=None, transfer_encoding="chunked", connection="close")
    head, body = request.split(b"\r\n\r\n", 1)
    for size in (1, 7, len(body)):
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        chunks = b"".join(b"%x;why=not\r\n%s\r\n" % (len(part), part) for part in parts)
        request = head + b"\r\n\r\n" + chunks + b"0\r\nTrailer: yes\r\n\r\n"
        (answer,) = await ask(attacked.port, request)
        assert answer.status == 202


async def test_a_chunk_that_never_comes_is_no_memory(attacked: GateProcess) -> None:
    before = attacked.rss_bytes
    async with AsyncExitStack() as stack:
        for _ in range(100):
            wire = await stack.enter_async_context(Wire(attacked.port))
            await wire.send(CHUNKED + b"fffffffffffffff\r\n{")
        await attacked.accepts()
        assert attacked.rss_bytes - before < 8 * 1024 * 1024


async def test_what_a_client_upgrades_to_is_ignored_and_its_event_is_not(attacked: GateProcess) -> None:
    """Java's HttpClient asks for h2c with its first request; llhttp takes the body for the other protocol's."""
    upgrade = {"upgrade": "h2c", "http2_settings": "AAMAAABk", "connection": "Upgrade, HTTP2-Settings"}
    async with Wire(attacked.port) as wire:
        await wire.send(signed(**upgrade), signed(upgrade="websocket", connection="upgrade,close"))
        assert [(await wire.answer()).status for _ in range(2)] == [202, 202]
        assert await wire.rest() == []
    request = signed(**upgrade)
    async with Wire(attacked.port) as wire:
        await wire.send(request[:-20], request[-20:])
        assert (await wire.answer()).status == 202


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"POST http://gate/webhooks/crm HTTP/1.1", 202),
        (b"POST //webhooks/crm HTTP/1.1", 404),
        (b"OPTIONS * HTTP/1.1", 404),
        (b"POST /webhooks/%63rm HTTP/1.1", 202),
        (b"POST /webhooks/%ff%00 HTTP/1.1", 404),
    ],
)
async def test_every_form_of_target_has_its_answer(attacked: GateProcess, line: bytes, status: int) -> None:
    request = signed().partition(b"\r\n")[2]
    async with Wire(attacked.port) as wire:
        await wire.send(line + b"\r\n" + request)
        assert (await wire.answer()).status == status


async def test_two_requests_in_one_segment_get_two_answers_in_order(attacked: GateProcess) -> None:
    async with Wire(attacked.port) as wire:
        await wire.send(signed() + b"GET /livez HTTP/1.1\r\nHost: gate\r\n\r\n" + signed(connection="close"))
        answers = await wire.rest()
    assert [answer.status for answer in answers] == [202, 200, 202]
    assert [answer.is_last for answer in answers] == [False, False, True]


async def test_malformed_after_a_good_request_is_answered_after_it(attacked: GateProcess) -> None:
    """An answer that overtakes another is taken for it: the provider would believe a stored event refused."""
    answers = await ask(attacked.port, signed() + MALFORMED["NUL in a header"])
    assert [answer.status for answer in answers] == [202, 400]
    answers = await ask(attacked.port, signed() + MALFORMED["chunk size is no number"])
    assert [answer.status for answer in answers] == [202, 400]


async def test_http_1_0_is_answered_and_closed_whatever_it_asks_for(attacked: GateProcess) -> None:
    for connection in ("close", "keep-alive"):
        request = signed(connection=connection, expect="100-continue").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        async with Wire(attacked.port) as wire:
            await wire.send(request)
            (answer,) = await wire.rest()
        assert (answer.status, answer.is_last, wire.continued) == (202, True, 0)


async def test_expect_100_continue_is_told_to_continue(attacked: GateProcess) -> None:
    request = signed(expect="100-continue", connection="close")
    head, body = request.split(b"\r\n\r\n", 1)
    async with Wire(attacked.port) as wire:
        await wire.send(head + b"\r\n\r\n")
        assert await wire.reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        await wire.reader.readline()
        await wire.send(body)
        (answer,) = await wire.rest()
    assert (answer.status, wire.continued) == (202, 0)  # beside the one read above


async def test_who_has_sent_a_request_and_ends_still_gets_the_answer(attacked: GateProcess) -> None:
    answers = await ask(attacked.port, signed(), end=True)
    assert [answer.status for answer in answers] == [202]  # and the connection has ended, or `ask` would wait on
    answers = await ask(attacked.port, signed() + signed() + signed()[:-1], end=True)
    assert [(answer.status, answer.is_last) for answer in answers] == [(202, False), (202, True)]


async def test_who_ends_in_the_middle_of_a_request_is_closed(attacked: GateProcess) -> None:
    request = signed()
    for at in (0, 10, len(request) - 10):
        assert await ask(attacked.port, request[:at], end=True) == []
    await attacked.accepts()


async def test_the_answer_arrives_though_the_client_was_still_sending(attacked: GateProcess) -> None:
    """Closed at once, the kernel would answer what comes with a reset, and that overtakes the 404."""
    head = HEAD.replace(b"/crm", b"/nobody") + b"Content-Length: 3000000\r\n\r\n"
    (answer,) = await ask(attacked.port, head, b"x" * 1_000_000, b"x" * 1_000_000)
    assert answer.status == 404


async def test_a_connection_is_closed_in_order_after_its_last_request(attacked: GateProcess) -> None:
    async with Wire(attacked.port) as wire:
        for n in range(20):
            await wire.send(signed())
            answer = await wire.answer()
            assert (answer.status, answer.is_last) == (202, n == 19)
        assert await wire.rest() == []
    assert attacked.metric('tidegate_connections_closed_total{reason="requests"}') >= 1


async def test_an_idle_connection_is_closed_without_a_word(attacked: GateProcess) -> None:
    async with Wire(attacked.port) as wire:
        await wire.send(signed())
        assert (await wire.answer()).status == 202
        assert await wire.rest() == []
    assert attacked.metric('tidegate_connections_closed_total{reason="idle"}') >= 1


async def test_who_connects_and_says_nothing_is_closed_without_a_word(attacked: GateProcess) -> None:
    assert await ask(attacked.port) == []
    assert attacked.metric('tidegate_connections_closed_total{reason="silent"}') >= 1


@pytest.mark.parametrize("first", [b"", signed(), b"GET /livez HTTP/1.1\r\n\r\n"], ids=["first", "second", "livez"])
async def test_headers_that_trickle_are_408_in_the_time_for_all_of_them(attacked: GateProcess, first: bytes) -> None:
    async with Wire(attacked.port) as wire:
        if first:
            await wire.send(signed() if first.startswith(b"POST") else first)
            assert (await wire.answer()).status < 300

        async def trickle() -> None:
            await wire.send(HEAD)
            for n in range(200):
                await wire.send(b"A%d: b\r\n" % n)
                await asyncio.sleep(0.1)

        trickling = asyncio.create_task(trickle())
        answers = await wire.rest(seconds=10)
        assert problem(answers) == (408, "application/problem+json", True)
        assert not trickling.done()
        trickling.cancel()
    await attacked.accepts()


async def test_many_that_trickle_keep_nobody_else_waiting(start_process: StartProcess) -> None:
    gate = start_process(header_seconds=60, connections_max=310)
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire(gate.port)) for _ in range(299)]
        for wire in wires:
            await wire.send(HEAD)
        for _ in range(10):
            for wire in wires:
                await wire.send(b"A: b\r\n")
            await gate.accepts(seconds=5)
        # One more than there is room for: it is the longest trickling that goes.
        more = [await stack.enter_async_context(Wire(gate.port)) for _ in range(30)]
        for wire in more:
            await wire.send(HEAD)
        await gate.accepts(seconds=5)
        assert await wires[0].rest() == []
    assert gate.metric('tidegate_connections_closed_total{reason="evicted"}') >= 19


async def test_ten_thousand_idle_connections_are_little_memory_and_no_hindrance(start_process: StartProcess) -> None:
    """As many as this process may open; the gate has a limit of its own."""
    gate = start_process(header_seconds=600, connections_max=10_000)
    await gate.accepts()
    before = gate.rss_bytes
    wanted = open_files_allowed(10_000)
    assert wanted >= 1000, "this machine allows too few open files for the test"
    idle: list[socket.socket] = []
    try:
        for _ in range(wanted):
            idle.append(socket.create_connection(("127.0.0.1", gate.port)))
            if len(idle) % 100 == 0:  # the backlog of the listening socket is shorter than that
                await until(lambda: asyncio.to_thread(lambda: gate.metric("tidegate_connections ") >= len(idle)))
        await gate.accepts(seconds=5)
        each = (gate.rss_bytes - before) / len(idle)
        assert each < 40 * 1024, f"{len(idle)} connections, {each / 1024:.1f} KiB each"
        if wanted == 10_000:  # and what is beyond them takes the place of the oldest
            assert gate.metric('tidegate_connections_closed_total{reason="evicted"}') > 0
            assert idle[0].recv(1) == b""
    finally:
        for sock in idle:
            sock.close()


async def test_a_process_with_few_open_files_knows_how_many_it_may_have(start_process: StartProcess) -> None:
    """Otherwise accept() finds out: it drops whoever comes, while those that hold the files do as they please."""
    gate = start_process(words=["sh", "-c", 'ulimit -n 400 && exec "$@"', "sh"], header_seconds=60)
    assert "fewer connections than connections_max" in gate.log()
    async with AsyncExitStack() as stack:
        for _ in range(700):
            wire = await stack.enter_async_context(Wire(gate.port))
            await wire.send(HEAD)
        await gate.accepts()
    assert gate.metric("tidegate_connections ") <= 200


# What the application is doing matters


async def test_whoever_keeps_us_waiting_longest_makes_room(start_hall: StartHall) -> None:
    hall = await start_hall(connections_max=3)
    waiting = hall.connections
    async with AsyncExitStack() as stack:

        async def come(data: bytes) -> Wire:
            wire = await stack.enter_async_context(Wire(hall.port))
            await wire.send(data)
            return wire

        async def standing(heads: int, bodies: int, idle: int) -> None:
            async def there() -> bool:
                return (len(waiting.heads), len(waiting.bodies), len(waiting.idle)) == (heads, bodies, idle)

            await until(there)

        head = await come(b"POST / HTTP/1.1\r\n")
        await standing(1, 0, 0)
        body = await come(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf")
        await standing(1, 1, 0)
        idle = await come(b"GET / HTTP/1.1\r\n\r\n")
        assert (await idle.answer()).status == 200
        await standing(1, 1, 1)
        await head.send(b"A: what comes later changes no place\r\n")
        await body.send(b".")

        new = await come(b"GET / HTTP/1.1\r\n\r\n")
        assert await head.rest() == []
        assert (await new.answer()).status == 200
        await standing(0, 1, 2)
        newer = await come(b"GET / HTTP/1.1\r\n\r\n")
        assert await body.rest() == []
        assert (await newer.answer()).status == 200
        await standing(0, 0, 3)
        await idle.send(b"G")  # a request begins: now it is this that we wait for, and for the two others longer
        await standing(1, 0, 2)
        newest = await come(b"GET / HTTP/1.1\r\n\r\n")
        assert await new.rest() == []
        assert (await newest.answer()).status == 200
        await idle.send(b"ET / HTTP/1.1\r\n\r\n")
        assert (await idle.answer()).status == 200
        assert waiting.closed == {"evicted": 3}


async def test_a_request_that_is_worked_on_is_never_closed_for_another(start_hall: StartHall) -> None:
    hall = await start_hall(connections_max=2, retry_after_seconds=7)
    hall.desk.open.clear()
    async with Wire(hall.port) as one, Wire(hall.port) as two:
        for wire in (one, two):
            await wire.send(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")

        async def both_at_work() -> bool:
            return hall.desk.at_work == 2

        await until(both_at_work)
        for _ in range(3):
            answers = await ask(hall.port, b"GET / HTTP/1.1\r\n\r\n")
            assert problem(answers) == (503, "application/problem+json", True)
            assert answers[0].headers["retry-after"] == "7"
        hall.desk.open.set()
        assert [(await wire.answer()).body for wire in (one, two)] == [b"{}", b"{}"]
    assert hall.connections.closed == {"full": 3}


async def test_who_is_turned_away_may_read_why_and_takes_nobodys_place(start_hall: StartHall) -> None:
    hall = await start_hall(connections_max=2)
    hall.desk.open.clear()
    async with AsyncExitStack() as stack:
        at_work = [await stack.enter_async_context(Wire(hall.port)) for _ in range(2)]
        for wire in at_work:
            await wire.send(b"GET / HTTP/1.1\r\n\r\n")

        async def both_at_work() -> bool:
            return hall.desk.at_work == 2

        await until(both_at_work)
        turned_away = [await stack.enter_async_context(Wire(hall.port)) for _ in range(150)]

        async def all_seen() -> bool:
            return hall.connections.closed["full"] == 150

        await until(all_seen)
        assert 128 <= len(hall.connections.parted) <= 129  # so many are waited for, and not more
        hall.desk.open.set()
        for wire in at_work:
            assert (await wire.answer()).status == 200
        new = await stack.enter_async_context(Wire(hall.port))
        await new.send(b"GET / HTTP/1.1\r\n\r\n")
        assert (await new.answer()).status == 200
        assert await at_work[0].rest() == []
        assert problem(await turned_away[-1].rest()) == (503, "application/problem+json", True)
    assert hall.connections.closed == {"full": 150, "evicted": 1}


async def test_the_application_is_told_when_the_rest_of_its_body_is_nonsense(start_hall: StartHall) -> None:
    """It must not answer what is answered 400 already, nor hold memory until the client has gone."""
    hall = await start_hall()
    async with Wire(hall.port) as wire:
        await wire.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nxyz\r\n")
        assert (await wire.answer()).status == 400

        async def told() -> bool:
            return hall.desk.told_gone == 1

        await until(told)
        assert len(hall.connections) == 1


async def test_leaving_closes_each_connection_with_its_next_answer_and_none_without(start_hall: StartHall) -> None:
    hall = await start_hall()
    async with Wire(hall.port) as at_work, Wire(hall.port) as idle, Wire(hall.port) as half:
        await idle.send(b"GET / HTTP/1.1\r\n\r\n")
        assert not (await idle.answer()).is_last
        hall.desk.open.clear()
        await at_work.send(b"GET / HTTP/1.1\r\n\r\n")
        await half.send(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{")

        async def there() -> bool:
            return hall.desk.at_work == 1 and len(hall.connections.bodies) == 1

        await until(there)
        hall.connections.leave()
        await idle.send(b"GET / HTTP/1.1\r\n\r\n")
        await half.send(b"}")
        hall.desk.open.set()
        for wire in (at_work, idle, half):
            (answer,) = await wire.rest()
            assert (answer.status, answer.is_last) == (200, True)
        (answer,) = await ask(hall.port, b"GET / HTTP/1.1\r\n\r\n")
        assert (answer.status, answer.is_last) == (200, True)
    assert hall.connections.closed == {"leaving": 4}


async def test_five_thousand_pipelined_requests_are_a_few_in_memory(start_hall: StartHall) -> None:
    """One read holds 14,000 of them; uvicorn alone makes a cycle of each."""
    hall = await start_hall()
    hall.desk.open.clear()
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire(hall.port)) for _ in range(10)]
        for wire in wires:
            await wire.send(b"GET / HTTP/1.1\r\n\r\n" * 5000)

        async def all_there() -> bool:
            return hall.desk.at_work == 10 and hall.connections.closed["pipelined"] == 10

        await until(all_there)
        gc.collect()
        assert sum(isinstance(each, RequestResponseCycle) for each in gc.get_objects()) == 10 * 9
        hall.desk.open.set()
        for wire in wires:
            answers = await wire.rest()
            assert [answer.is_last for answer in answers] == [False] * 8 + [True]


async def test_nothing_that_follows_the_last_request_is_run_or_counted(start_hall: StartHall) -> None:
    hall = await start_hall(keep_alive_requests_max=2)
    async with Wire(hall.port) as wire:
        await wire.send(b"GET / HTTP/1.1\r\n\r\n" * 5)
        assert [answer.is_last for answer in await wire.rest()] == [False, True]
    assert (hall.desk.paths, hall.connections.closed) == (["/", "/"], {"requests": 1})


async def test_a_large_body_that_waits_behind_another_request_is_not_kept(start_hall: StartHall) -> None:
    hall = await start_hall()
    hall.desk.open.clear()
    async with Wire(hall.port) as wire:
        await wire.send(b"GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 10000000\r\n\r\n")
        sending = asyncio.create_task(wire.send(b"x" * 10_000_000))

        async def given_up() -> bool:
            return hall.connections.closed["pipelined"] == 1

        await until(given_up)
        hall.desk.open.set()
        (answer,) = await wire.rest()
        await sending
    assert (answer.status, answer.is_last) == (200, True)
    assert hall.desk.paths == ["/"]


@pytest.mark.parametrize(("pipelined", "pieces"), [(1, 1), (9, 1), (1, 1000)])
async def test_who_reads_no_answer_is_cut_off(start_hall: StartHall, pipelined: int, pieces: int) -> None:
    hall = await start_hall(header_seconds=0.5)
    hall.desk.pieces = pieces
    hall.desk.answer = b"x" * (10_000_000 // pieces)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", hall.port))
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * pipelined)

        async def stuck() -> bool:
            return len(hall.connections.unread) == 1

        await until(stuck)
        assert guest(hall).transport.get_write_buffer_size() < 16_384 + 1000 + len(hall.desk.answer)

        async def gone() -> bool:
            return hall.connections.closed["unread"] == 1 and len(hall.connections) == 0

        await until(gone)
    assert len(hall.desk.paths) <= 2


async def test_who_reads_slowly_but_reads_gets_all_of_it(start_hall: StartHall) -> None:
    hall = await start_hall()
    hall.desk.answer = b"x" * 10_000_000
    async with Wire(hall.port) as wire:
        for n in range(3):
            await wire.send(b"GET /%d HTTP/1.1\r\n\r\n" % n)
        assert [len((await wire.answer()).body) for _ in range(3)] == [10_000_000] * 3


async def test_an_answer_without_a_body_is_sent_all_the_same(start_hall: StartHall) -> None:
    hall = await start_hall()
    async with Wire(hall.port) as wire:
        await wire.send(b"HEAD / HTTP/1.1\r\n\r\n")
        assert (await wire.answer()).status == 200
        await wire.send(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert [answer.status for answer in await wire.rest()] == [200]


async def test_who_ends_while_we_work_gets_the_answer(start_hall: StartHall) -> None:
    hall = await start_hall()
    hall.desk.open.clear()
    async with Wire(hall.port) as wire:
        await wire.send(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")

        async def at_work() -> bool:
            return hall.desk.at_work == 1

        await until(at_work)
        wire.end()

        async def known() -> bool:
            return guest(hall)._eof

        await until(known)
        hall.desk.open.set()
        (answer,) = await wire.rest()
    assert (answer.body, answer.is_last) == (b"{}", True)


async def test_a_client_that_vanishes_while_we_work_leaves_nothing_behind(
    start_hall: StartHall, caplog: pytest.LogCaptureFixture
) -> None:
    hall = await start_hall()
    hall.desk.open.clear()
    async with Wire(hall.port) as wire:
        await wire.send(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")

        async def at_work() -> bool:
            return hall.desk.at_work == 1

        await until(at_work)
        wire.vanish()

    async def gone() -> bool:
        return len(hall.connections) == 0

    await until(gone)
    hall.desk.open.set()
    (answer,) = await ask(hall.port, b"GET /3 HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.status == 200
    assert hall.desk.paths == ["/1", "/3"]
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


async def test_trailers_are_no_headers(start_hall: StartHall) -> None:
    """They come after the headers were checked: a second signature must not slip in behind."""
    hall = await start_hall()
    async with Wire(hall.port) as wire:
        await wire.send(b"POST / HTTP/1.1\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n")

        async def at_work() -> bool:
            return len(hall.connections.bodies) == 1

        await until(at_work)
        await wire.send(b"2\r\n{}\r\n0\r\nWebhook-Signature: forged\r\n\r\n")
        assert (await wire.answer()).status == 200
    assert hall.desk.headers == [(b"a", b"b"), (b"transfer-encoding", b"chunked")]


async def test_a_body_that_nobody_read_is_not_taken_for_the_next_request(start_hall: StartHall) -> None:
    hall = await start_hall(header_seconds=0.3)
    async with Wire(hall.port) as wire:
        await wire.send(b"POST /now HTTP/1.1\r\nContent-Length: 100\r\n\r\n")
        assert (await wire.answer()).status == 200
        await wire.send(b"GET /smuggled HTTP/1.1\r\n")
        assert await wire.rest() == []  # the rest of it did not come in time
    assert hall.desk.paths == ["/now"]


async def test_a_mistake_of_ours_is_503_and_not_the_clients_fault(
    start_hall: StartHall, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """400 would tell the provider never to send the event again."""

    def broken(self: HttpToolsProtocol) -> None:
        raise KeyError("of ours")

    hall = await start_hall()
    with monkeypatch.context() as patched:
        patched.setattr(HttpToolsProtocol, "on_headers_complete", broken)
        answers = await ask(hall.port, b"GET / HTTP/1.1\r\n\r\n")
    assert problem(answers) == (503, "application/problem+json", True)
    assert answers[0].headers["retry-after"] == "5"
    assert "KeyError" in caplog.text


async def test_requests_under_way_are_answered_when_the_server_stops(start_hall: StartHall) -> None:
    hall = await start_hall()
    hall.desk.open.clear()
    async with Wire(hall.port) as wire, Wire(hall.port) as idle, Wire(hall.port) as refused:
        await idle.send(b"GE")
        await refused.send(b"nonsense\r\n\r\n")
        assert (await refused.answer()).status == 400
        await wire.send(b"GET / HTTP/1.1\r\n\r\n")

        async def at_work() -> bool:
            return hall.desk.at_work == 1

        await until(at_work)
        hall.stop()
        assert await idle.rest() == []
        hall.desk.open.set()
        (answer,) = await wire.rest()
    assert (answer.status, answer.is_last) == (200, True)
