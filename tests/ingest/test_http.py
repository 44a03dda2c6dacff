"""The gate as an HTTP server: what it reads, what it believes, what it lets a client see."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures import until
from tests.ingest.running import BODIES, SECRETS, Running, running
from tidegate.stream import Pauses, Rejected, RejectedLog, Stream

Start = Callable[..., Awaitable[Running]]
JSON = {"content-type": "application/json"}


@pytest_asyncio.fixture
async def start(stream: Stream) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def begin(**options: Any) -> Running:
            return await stack.enter_async_context(running(stream, **options))

        yield begin


@pytest_asyncio.fixture
async def gate(start: Start) -> Running:
    return await start()


# ---- Compressed and nested bodies

PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("coding", sorted(PACKED))
@pytest.mark.parametrize("source", ["crm", "lemlist", "hubspot"])
async def test_a_compressed_body_is_taken_signed_as_it_was_before(gate: Running, source: str, coding: str) -> None:
    headers, body = gate.signed(source)
    status, _, answer = await gate.raw(
        "POST",
        f"/webhooks/{source}",
        data=PACKED[coding](body),
        headers=[*headers, ("content-encoding", coding)],
    )
    assert (status, answer["accepted"]) == (202, 1)
    (delivery,) = await gate.waiting()
    assert json.loads(delivery.event.payload)


async def test_a_compressed_body_is_taken_signed_as_it_is_sent(gate: Running) -> None:
    packed = gzip.compress(BODIES["crm"])
    headers, _ = gate.signed("crm", packed)
    status, _, _ = await gate.raw(
        "POST", "/webhooks/crm", data=packed, headers=[*headers, ("content-encoding", "gzip")]
    )
    assert status == 202
    (delivery,) = await gate.waiting()
    assert delivery.event.payload == BODIES["crm"]


async def test_a_bomb_is_413_and_damage_is_400_and_a_forgery_stays_401(gate: Running) -> None:
    async def send(body: bytes) -> int:
        headers, _ = gate.signed("crm")
        status, _, _ = await gate.raw(
            "POST", "/webhooks/crm", data=body, headers=[*headers, ("content-encoding", "gzip")]
        )
        return status

    assert await send(gzip.compress(bytes(50_000_000))) == 413
    assert await send(gzip.compress(BODIES["crm"])[:-9]) == 400
    assert await send(b"no gzip at all") == 400
    assert await send(gzip.compress(BODIES["crm"] + b" ")) == 401
    assert await gate.waiting() == []


@pytest.mark.parametrize("source", ["crm", "lemlist", "hubspot"])
async def test_a_body_nested_deeper_than_allowed_is_400_and_at_the_limit_is_fine(start: Start, source: str) -> None:
    gate = await start(json_depth_max=20)
    plain = json.loads(BODIES[source])
    event = plain[0] if source == "hubspot" else plain

    def nested(levels: int) -> bytes:
        event["deep"] = json.loads("[" * levels + "]" * levels)
        return json.dumps(plain).encode()

    around = 2 if source == "hubspot" else 1
    assert (await gate.post(source, nested(20 - around)))[0] == 202
    status, _, problem = await gate.post(source, nested(21 - around), message_id="msg_2")
    assert (status, problem["type"]) == (400, "urn:tidegate:problem:malformed")


# ---- What kind of request it is


@pytest.mark.parametrize(
    ("source", "types", "status"),
    [
        ("crm", ["application/json"], 202),
        ("crm", ["Application/JSON; charset=utf-8"], 202),
        ("crm", ["application/cloudevents+json"], 202),
        ("lemlist", ["application/vnd.api+json"], 415),
        ("hubspot", ["text/plain"], 415),
        ("hubspot", ["application/x-www-form-urlencoded"], 415),
        ("hubspot", ["application/jsonp"], 415),
        ("hubspot", ["application/json", "application/json"], 415),
    ],
)
async def test_each_provider_is_taken_with_the_types_it_sends(
    gate: Running, source: str, types: list[str], status: int
) -> None:
    headers, body = gate.signed(source)
    rest = [(name, value) for name, value in headers if name.lower() != "content-type"]
    answered, _, problem = await gate.raw(
        "POST", f"/webhooks/{source}", data=body, headers=[*rest, *(("content-type", text) for text in types)]
    )
    assert answered == status, problem


async def test_options_is_answered_without_a_word_to_browsers(gate: Running) -> None:
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    status, headers, _ = await gate.raw("OPTIONS", "/webhooks/crm", headers=asked)
    assert (status, headers["allow"]) == (204, "POST")
    for path, method in (
        ("/webhooks/crm", "POST"),
        ("/webhooks/crm", "OPTIONS"),
        ("/livez", "GET"),
        ("/nowhere", "GET"),
    ):
        _, headers, _ = await gate.raw(method, path, headers=asked)
        assert not [name for name in headers if name.lower().startswith("access-control")]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]


async def test_a_request_id_is_taken_over_or_made_returned_and_stays_with_the_event(gate: Running) -> None:
    _, headers, _ = await gate.post("crm", x_request_id="lb-7f.3:1_x")
    assert headers["x-request-id"] == "lb-7f.3:1_x"
    _, made, _ = await gate.post("lemlist")
    assert len(made["x-request-id"]) == 32
    ids = {item.event.source: item.event.headers["x-request-id"] for item in await gate.waiting()}
    assert ids == {"crm": "lb-7f.3:1_x", "lemlist": made["x-request-id"]}
    _, refused, _ = await gate.raw("POST", "/webhooks/crm", data=b"{}", headers={**JSON, "x-request-id": "mine"})
    assert refused["x-request-id"] == "mine"


@pytest.mark.parametrize("wrong", ["", "a b", "x" * 129, "<script>", "é"])
async def test_a_request_id_that_could_do_harm_where_it_is_shown_is_replaced(gate: Running, wrong: str) -> None:
    _, headers, _ = await gate.post("crm", x_request_id=wrong)
    assert len(headers["x-request-id"]) == 32
    assert headers["x-request-id"] != wrong


async def test_two_request_ids_are_none(gate: Running) -> None:
    headers, body = gate.signed("crm")
    _, answered, _ = await gate.raw(
        "POST", "/webhooks/crm", data=body, headers=[*headers, ("x-request-id", "a"), ("x-request-id", "b")]
    )
    assert answered["x-request-id"] not in ("a", "b")


# ---- Proxies and HTTPS


async def test_plain_http_is_redirected_where_https_is_required_and_health_is_not(start: Start) -> None:
    gate = await start(require_https=True)
    status, headers, _ = await gate.raw(
        "POST", "/webhooks/crm?a=1", data=b"{}", headers={**JSON, "host": "hooks.example"}
    )
    assert (status, headers["location"]) == (308, "https://hooks.example/webhooks/crm?a=1")
    status, _, _ = await gate.raw("POST", "/webhooks/crm", data=b"{}", headers={**JSON, "host": "evil/../x"})
    assert status == 400
    assert (await gate.raw("GET", "/livez"))[0] == 200
    assert await gate.waiting() == []


async def test_what_a_proxy_says_is_believed_only_of_proxies_that_are_named(start: Start) -> None:
    said: dict[str, Any] = {"x_forwarded_proto": "https", "x_forwarded_for": "203.0.113.9"}
    strangers = await start(require_https=True)
    assert (await strangers.post("crm", **said))[0] == 308
    believed = await start(require_https=True, hsts_seconds=3600, trusted_proxies=["127.0.0.0/8"])
    status, headers, _ = await believed.post("crm", **said)
    assert (status, headers["strict-transport-security"]) == (202, "max-age=3600")
    assert (await believed.post("crm", x_forwarded_proto="http"))[0] == 308


async def test_hubspots_signature_is_checked_for_the_scheme_the_named_proxy_tells(start: Start) -> None:
    """Without a public_url the URL is rebuilt: behind a proxy that ends TLS it was https."""
    gate = await start(trusted_proxies=["127.0.0.1"])
    headers, body = gate.sources["hubspot"].adapter.sign(
        BODIES["hubspot"],
        url=f"{gate.url.replace('http:', 'https:')}/webhooks/hubspot",
        now_seconds=time.time(),
        message_id="",
    )
    status, _, _ = await gate.raw(
        "POST", "/webhooks/hubspot", data=body, headers=[*headers, ("x-forwarded-proto", "https")]
    )
    assert status == 202
    assert (await gate.raw("POST", "/webhooks/hubspot", data=body, headers=headers))[0] == 401


# ---- Too often, too many, paused


async def test_a_source_that_comes_too_often_is_429_and_the_others_are_served(start: Start) -> None:
    gate = await start(source={"rate_per_second": 0.5, "burst": 2})
    answers = [await gate.post("crm", message_id=str(n)) for n in range(4)]
    assert [status for status, _, _ in answers] == [202, 202, 429, 429]
    assert answers[2][1]["retry-after"] == "2"
    assert answers[2][2]["type"] == "urn:tidegate:problem:rate-limited"
    assert (await gate.post("lemlist"))[0] == 202


async def test_an_address_that_comes_too_often_is_429_and_other_clients_of_its_proxy_are_served(start: Start) -> None:
    gate = await start(address_rate_per_second=0.1, address_burst=2, trusted_proxies=["127.0.0.1"])

    async def post(address: str, name: str) -> int:
        status, _, _ = await gate.post("crm", message_id=name, x_forwarded_for=address)
        return int(status)

    assert [await post("203.0.113.1", name) for name in "abc"] == [202, 202, 429]
    assert await post("203.0.113.2", "d") == 202
    for _ in range(2):
        await gate.raw("POST", "/webhooks/nobody", headers={"x-forwarded-for": "203.0.113.3"})
    assert await post("203.0.113.3", "e") == 429, "what is refused counts too"


async def test_a_paused_source_is_503_until_resumed_and_a_held_one_is_taken(gate: Running) -> None:
    pauses = Pauses(gate.stream.client, gate.stream.keys[0].prefix)
    await pauses.set("crm", "refuse", "migration")
    await pauses.set("lemlist", "hold")

    async def status() -> int:
        answer = await gate.post("crm", message_id="a")
        return int(answer[0])

    async def refused() -> bool:
        return await status() == 503

    await until(refused)
    code, headers, problem = await gate.post("crm", message_id="b")
    assert (code, problem["type"]) == (503, "urn:tidegate:problem:paused")
    assert int(headers["retry-after"]) >= 7
    assert (await gate.post("lemlist"))[0] == 202
    await pauses.clear("crm")

    async def taken() -> bool:
        return await status() == 202

    await until(taken)


# ---- Slow and large


async def _open(gate: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(gate.url.rpartition(":")[2]))


async def test_an_early_answer_reaches_a_client_that_is_still_sending(gate: Running) -> None:
    """Closed with bytes unread a connection is reset, and the answer in it is lost."""
    reader, writer = await _open(gate)
    writer.write(b"POST /webhooks/nobody HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n")
    for _ in range(50):
        writer.write(b"x" * 10_000)
        await writer.drain()
    assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
    assert b"unknown-source" in await reader.read()
    writer.close()


async def test_a_body_that_trickles_is_408_and_does_not_keep_others_out(start: Start) -> None:
    gate = await start(body_seconds=0.3)
    reader, writer = await _open(gate)
    writer.write(b"POST /webhooks/crm HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx")
    assert (await gate.post("crm"))[0] == 202
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_with_as_many_under_way_as_allowed_the_slowest_makes_room(start: Start) -> None:
    gate = await start(requests_max=3)
    slow = [await _open(gate) for _ in range(3)]
    for _, writer in slow:
        writer.write(b"POST /webhooks/crm HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx")
    assert all([(await gate.post("crm", message_id=str(n)))[0] == 202 for n in range(5)])
    assert (await slow[0][0].readline()).startswith(b"HTTP/1.1 408 ")
    for _, writer in slow:
        writer.close()


async def test_who_hangs_up_is_not_answered_and_counted_as_gone(gate: Running) -> None:
    _, writer = await _open(gate)
    writer.write(b"POST /webhooks/crm HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx")
    await writer.drain()
    writer.close()

    async def counted() -> bool:
        _, _, text = await gate.raw("GET", "/metrics")
        return 'tidegate_ingest_requests_total{source="crm",status="499"}' in text

    await until(counted)


async def test_a_request_that_a_stopping_gate_gives_up_is_503_and_no_fault(
    gate: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvicorn cancels what has not ended in time; its own answer would be a 500, which some providers take for good."""
    under_way: list[asyncio.Task[Any]] = []

    async def never(*_args: Any, **_kwargs: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        under_way.append(task)
        await asyncio.Event().wait()

    monkeypatch.setattr(gate.parts.tiers, "keep", never)
    asked = asyncio.create_task(gate.post("crm"))

    async def begun() -> bool:
        return bool(under_way)

    await until(begun)
    under_way[0].cancel()
    status, headers, _ = await asked
    assert status == 503
    assert int(headers["retry-after"]) >= 7


# ---- What is refused is on record


async def _refused(gate: Running, count: int) -> dict[str, Rejected]:
    """Return the records by reason, once there are so many."""
    log = RejectedLog(gate.stream.client, prefix=gate.stream.keys[0].prefix)
    found: list[Any] = []

    async def recorded() -> bool:
        found[:] = await log.newest(100)
        return len(found) >= count

    await until(recorded)
    return {record.reason: record for _, record in found}


async def test_each_refusal_is_recorded_with_what_a_person_needs_to_mend_it(gate: Running) -> None:
    await gate.raw("POST", "/webhooks/nobody", data=b"{}", headers=JSON)
    await gate.raw("GET", "/webhooks/crm")
    await gate.raw("POST", "/webhooks/crm", data=b"{}", headers={"content-type": "text/plain"})
    headers, body = gate.signed("crm")
    await gate.raw("POST", "/webhooks/crm", data=body + b"\n", headers=[*headers, ("x-request-id", "r-1")])
    stale = [(name, "1700000000" if name == "webhook-timestamp" else value) for name, value in headers]
    await gate.raw("POST", "/webhooks/crm", data=body, headers=stale)
    reader, writer = await _open(gate)
    writer.write(b"no HTTP at all\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    found = await _refused(gate, 6)
    assert found.keys() == {"unknown_source", "method", "content_type", "bad_signature", "stale", "headers"}
    wrong = found["bad_signature"]
    assert (wrong.source, wrong.provider, wrong.status, wrong.scheme) == ("crm", "standard-webhooks", 401, "v1")
    assert (wrong.request_id, wrong.bytes, wrong.address) == ("r-1", len(body) + 1, "127.0.0.1")
    assert "without the newline" in wrong.detail
    clock = found["stale"].clock_seconds
    assert clock is not None
    assert clock > 300
    assert not {text for text in (str(item) for item in found.values()) if SECRETS["crm"][6:] in text}


async def test_what_is_only_turned_away_for_now_is_not(start: Start) -> None:
    gate = await start(backlog_max=1)
    await asyncio.gather(*(gate.post("crm", message_id=str(n)) for n in range(6)))
    await gate.raw("GET", "/webhooks/crm")
    assert (await _refused(gate, 1)).keys() == {"method"}


@pytest.mark.parametrize("hosts", [[], ["a.example", "b.example"]])
async def test_no_host_or_two_of_them_are_400(gate: Running, hosts: list[str]) -> None:
    headers, body = gate.signed("crm")
    lines = [f"{name}: {value}" for name, value in headers] + [f"Host: {host}" for host in hosts]
    head = "\r\n".join(["POST /webhooks/crm HTTP/1.1", f"Content-Length: {len(body)}", *lines, "", ""])
    reader, writer = await _open(gate)
    writer.write(head.encode() + body)
    assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_forged_requests_do_not_use_up_the_rate_of_the_provider(start: Start) -> None:
    gate = await start(source={"rate_per_second": 0.5, "burst": 2})
    for _ in range(10):
        assert (await gate.raw("POST", "/webhooks/crm", data=b"{}", headers=JSON))[0] == 401
    assert (await gate.post("crm"))[0] == 202
