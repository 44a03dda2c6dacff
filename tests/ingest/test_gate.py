"""What a provider is answered, and what is on the stream when it is."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from ingest.appender import Appender
from ingest.fuse import Fuse
from ingest.group_commit import OverloadedError
from ingest.tiers import Tiers
from tests.fixtures import appendable, event, until
from tests.ingest.running import BODIES, PROVIDERS, SECRETS, Running, running
from tidegate.embedded import RedisServer
from tidegate.stream import Stream, connect

Start = Callable[..., Awaitable[Running]]


@pytest_asyncio.fixture
async def start(stream: Stream) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def begin(*, stream: Stream = stream, **options: Any) -> Running:
            return await stack.enter_async_context(running(stream, **options))

        yield begin


@pytest_asyncio.fixture
async def gate(start: Start) -> Running:
    return await start()


async def is_whole(gate: Running) -> bool:
    return gate.parts.tiers.fuse.is_whole()


def fuse_of(stream: Stream) -> Fuse:
    return Fuse("Redis", stream.probe, probe_seconds=1, pause_seconds_max=1, instead="")


def appender_of(stream: Stream, *, append_seconds: float = 5.0) -> Appender:
    return Appender(stream, fuse_of(stream), backlog_max=0, events_max=64, append_seconds=append_seconds)


@pytest.mark.parametrize("source", ["crm", "lemlist", "hubspot"])
async def test_a_202_means_the_event_is_on_the_stream(gate: Running, source: str) -> None:
    status, headers, answer = await gate.post(source)
    assert (status, headers["Tidegate-Durability"]) == (202, "redis")
    (delivery,) = await gate.waiting()
    assert answer == {"accepted": 1, "duplicates": 0, "ids": [str(delivery.event.delivery_id)]}
    assert (delivery.event.source, delivery.event.provider) == (source, PROVIDERS[source])
    assert json.loads(delivery.event.payload) == (
        json.loads(BODIES[source])[0] if source == "hubspot" else json.loads(BODIES[source])
    )


async def test_the_same_event_again_is_answered_202_and_is_not_on_the_stream_twice(gate: Running) -> None:
    await gate.post("lemlist")
    status, _, answer = await gate.post("lemlist")
    assert (status, answer) == (202, {"accepted": 0, "duplicates": 1, "ids": []})
    assert len(await gate.waiting()) == 1


async def test_lemlists_secret_reaches_neither_the_stream_nor_the_headers_kept(gate: Running) -> None:
    await gate.post("lemlist")
    (delivery,) = await gate.waiting()
    assert SECRETS["lemlist"].encode() not in delivery.event.payload
    await gate.post("crm")
    kept = [dict(item.event.headers) for item in await gate.waiting()]
    assert all("webhook-signature" not in headers for headers in kept)
    assert any(headers.get("webhook-id") == "msg_1" for headers in kept)


async def test_an_array_of_100_with_one_bad_element_keeps_the_other_99(gate: Running) -> None:
    good = json.loads(BODIES["hubspot"])[0]
    items = [{**good, "eventId": n} for n in range(100)]
    del items[50]["eventId"]
    status, _, answer = await gate.post("hubspot", json.dumps(items).encode())
    assert (status, answer["accepted"]) == (202, 100)
    waiting = await gate.waiting()
    assert sum(item.malformed is None for item in waiting) == 99
    (bad,) = [item for item in waiting if item.malformed]
    assert json.loads(bad.event.payload) == items[50]


async def test_an_empty_array_is_nothing_and_fine(gate: Running) -> None:
    status, _, answer = await gate.post("hubspot", b"[]")
    assert (status, answer) == (202, {"accepted": 0, "duplicates": 0, "ids": []})


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("crm", {"webhook-signature": "v1,AAAA"}),
        ("crm", {"webhook-timestamp": "1"}),
        ("hubspot", {"X-HubSpot-Signature-v3": "AAAA"}),
    ],
)
async def test_a_wrong_signature_is_401_says_no_more_and_leaves_nothing(
    gate: Running, source: str, change: dict[str, str]
) -> None:
    headers, body = gate.sources[source].adapter.sign(
        BODIES[source], url=f"{gate.url}/webhooks/{source}", now_seconds=time.time(), message_id="m"
    )
    lower = {name.lower(): value for name, value in headers} | {name.lower(): value for name, value in change.items()}
    status, answered, problem = await gate.raw("POST", f"/webhooks/{source}", data=body, headers=lower)
    assert (status, answered["content-type"]) == (401, "application/problem+json")
    assert problem == {
        "type": "urn:tidegate:problem:unauthorized",
        "title": "Signature missing, wrong or stale",
        "status": 401,
    }
    assert await gate.waiting() == []


async def test_lemlist_without_or_with_a_wrong_secret_is_401(gate: Running) -> None:
    for body in (b'{"_id": "a"}', b'{"_id": "a", "secret": "wrong"}'):
        status, _, _ = await gate.raw(
            "POST", "/webhooks/lemlist", data=body, headers={"content-type": "application/json"}
        )
        assert status == 401


async def test_what_is_no_event_is_400(gate: Running) -> None:
    for source, body in (("crm", b"[1]"), ("hubspot", b"not json"), ("lemlist", b'{"type": "emailsOpened"}')):
        status, headers, problem = await gate.post(source, body)
        assert (status, headers["content-type"], problem["status"]) == (400, "application/problem+json", 400)
    assert await gate.waiting() == []


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/webhooks/nobody", {}, 404),
        ("POST", "/elsewhere", {}, 404),
        ("GET", "/webhooks/crm", {}, 405),
        ("HEAD", "/webhooks/crm", {}, 405),
        ("PUT", "/webhooks/crm", {}, 405),
        ("POST", "/webhooks/crm", {"content-type": "text/plain"}, 415),
        ("POST", "/webhooks/crm", {"content-type": "application/json", "content-encoding": "br"}, 415),
        ("POST", "/webhooks/crm", {"content-type": "application/json", "content-encoding": "gzip, gzip"}, 415),
    ],
)
async def test_other_requests_are_told_what_is_wrong(
    gate: Running, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answered, got, body = await gate.raw(method, path, headers=headers, data=b"{}" if method == "POST" else None)
    assert answered == status
    assert got["content-type"] == "application/problem+json"
    if status == 405:
        assert got["allow"] == "POST"
    if method != "HEAD":
        assert body["status"] == status


async def test_a_body_over_the_limit_is_413_whether_announced_or_streamed(start: Start) -> None:
    gate = await start(body_bytes_max=1024)
    headers = {"content-type": "application/json"}
    status, _, _ = await gate.raw("POST", "/webhooks/crm", data=b"x" * 1025, headers=headers)
    assert status == 413

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    status, _, _ = await gate.raw("POST", "/webhooks/crm", data=chunks(), headers=headers)
    assert status == 413


async def test_a_string_of_1_mib_is_accepted_whole(gate: Running) -> None:
    body = json.dumps({"_id": "act_big", "type": "emailsOpened", "text": "a" * 1_048_576}).encode()
    status, _, _ = await gate.post("lemlist", body)
    assert status == 202
    (delivery,) = await gate.waiting()
    assert len(delivery.event.data["text"]) == 1_048_576


async def test_a_full_backlog_is_503_with_retry_after_and_takes_nothing(start: Start) -> None:
    gate = await start(backlog_max=1)
    assert (await gate.post("crm", message_id="a"))[0] == 202
    statuses = [await gate.post("crm", message_id=name) for name in ("b", "c", "d", "e")]
    refused = [answer for answer in statuses if answer[0] == 503]
    assert len(refused) >= 3  # two shards: the other one may take one
    assert 7 <= int(refused[0][1]["retry-after"]) <= 60
    assert len(await gate.waiting()) == 1 + len(statuses) - len(refused)


async def test_requests_that_arrive_during_an_append_share_the_next(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    append = stream.append

    async def counted(shard: int, items: Any, **options: Any) -> list[bool]:
        sizes.append(len(items))
        return await append(shard, items, **options)

    monkeypatch.setattr(stream, "append", counted)
    monkeypatch.setattr(stream, "shard_of", lambda *_: 0)
    appender = appender_of(stream)
    results = await asyncio.gather(*(appender.append([appendable(event(str(n)))]) for n in range(100)))
    assert results == [[True]] * 100
    assert sizes == [64, 36]


async def test_too_much_in_flight_is_refused_and_not_queued(stream: Stream) -> None:
    tiers = Tiers(appender_of(stream), fuse_of(stream), None, pending_max=10, pending_bytes_max=1000)

    def keep(name: str, **changed: Any) -> Awaitable[Any]:
        items = [appendable(event(name, **changed))]
        return tiers.keep(items, anew=lambda: items)

    results = await asyncio.gather(*(keep(str(n)) for n in range(20)), return_exceptions=True)
    assert sum(isinstance(result, OverloadedError) for result in results) == 10
    assert (await keep("later")).new == [True]
    with pytest.raises(OverloadedError):
        await keep("large", payload=b"x" * 1001)
    assert (await keep("small", payload=b"x" * 1000)).new == [True]


async def test_an_append_whose_answer_was_lost_is_repeated_and_is_one_entry(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pitfall 1, the other way round: we repeat knowingly, and the move knows the event."""
    script = stream._scripts["append"]
    lost = 0

    async def loses_the_first_answer(keys: Any, args: Any, client: Any = None) -> Any:
        nonlocal lost
        answer = await script(keys, args, client)
        if not lost:
            lost += 1
            raise ConnectionResetError("cut")
        return answer

    monkeypatch.setitem(stream._scripts, "append", loses_the_first_answer)
    appender = appender_of(stream)
    sent = event()
    await appender.append([appendable(sent)])
    assert lost == 1
    state = await stream.audit(stream.shard_of(sent.source, sent.provider_event_id))
    assert (state.events, state.ledger["accepted", "shop"]) == (1, 1)


async def test_redis_away_is_503_and_never_a_false_202(start: Start, own_redis: Callable[..., RedisServer]) -> None:
    """Pitfall 20. And what was answered before the kill is still there after it."""
    redis = own_redis()
    client = connect(redis.url, timeout_seconds=1)
    stream = Stream(client, prefix="tg", shards=1, repeat_seconds=0.3)
    gate = await start(stream=stream)
    assert (await gate.post("crm", message_id="a"))[0] == 202
    redis.kill()
    status, headers, problem = await gate.post("crm", message_id="b")
    assert (status, problem["status"]) == (503, 503)
    assert 7 <= int(headers["retry-after"]) <= 11
    redis.restart()
    await until(lambda: is_whole(gate))
    assert (await gate.post("crm", message_id="b"))[0] == 202
    assert (await stream.audit(0)).events == 2
    await client.aclose()


async def test_health_and_metrics_are_served_beside_the_webhooks(gate: Running) -> None:
    await gate.post("crm")
    await gate.raw("POST", "/webhooks/invented-by-a-scanner")
    assert (await gate.raw("GET", "/livez"))[0] == 200
    assert (await gate.raw("GET", "/readyz"))[0] == 200
    _, _, text = await gate.raw("GET", "/metrics")
    assert 'tidegate_ingest_requests_total{source="crm",status="202"}' in text
    assert 'source="other",status="404"' in text
    assert "invented-by-a-scanner" not in text
