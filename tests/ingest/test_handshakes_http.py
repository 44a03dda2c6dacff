"""Handshakes and answers over a socket: each provider hears what it waits for, and a handshake never becomes an event."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.fixtures import until
from tests.ingest.running import Running, running
from tidegate.stream import Pauses, Stream
from tidegate.telemetry import metrics

SECRET = "c9b1-secret-of-those-that-greet"
VERIFY = "v7-token-of-the-handshake"
PROVIDERS = {
    "chat": "slack",
    "events": "cloudevents",
    "social": "meta",
    "board": "trello",
    "mail": "postmark",
    "calls": "twilio",
    "hooks": "okta",
    "shop": "shopify",
    "code": "github",
    "acme": "acme",
    "slow": "acme",
}
ACME: dict[str, Any] = {
    "content_types": ["application/x-www-form-urlencoded", "application/json"],
    "signature": {"kind": "token", "header": "X-Acme-Token"},
    "events": {"body": "form", "id": "id", "type": "kind"},
    "answers": {"success": 201, "text": "OK-42", "refused": 422, "busy": 529},
    "handshakes": [
        {
            "method": "POST",
            "when": {"header:X-Acme-Hello": ""},
            "signed": False,
            "headers": {"X-Acme-Hello": "header:X-Acme-Hello"},
        }
    ],
}
TOKEN = {"X-Acme-Token": SECRET}
PAUSED = {(201, "OK-42"), (529, "urn:tidegate:problem:paused")}
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest_asyncio.fixture
async def gate(stream: Stream) -> AsyncIterator[Running]:
    sources: dict[str, dict[str, Any]] = {
        name: {
            "provider": provider,
            "secrets": [f"user:{SECRET}" if name == "mail" else SECRET],
            "handshake_secret": VERIFY,
        }
        for name, provider in PROVIDERS.items()
    }
    sources["events"] |= {"rate_per_second": 2, "burst": 100}
    sources["slow"] |= {"rate_per_second": 0.01, "burst": 1}
    async with running(stream, sources_of_test=sources, providers={"acme": ACME}) as found:
        yield found


def answered(source: str, status: int) -> float:
    return float(metrics.INGEST_REQUESTS.labels(source, str(status))._value.get())


async def payloads(gate: Running) -> list[Any]:
    return [json.loads(delivery.event.payload) for delivery in await gate.waiting()]


# ---- Handshakes


async def test_slack_gets_its_challenge_back_and_nothing_is_stored(gate: Running) -> None:
    before = answered("chat", 200)
    asked = b'{"type": "url_verification", "token": "t", "challenge": "3eZbrw1aB10FEMAGAZd4FyFQ"}'
    status, headers, text = await gate.post("chat", asked)
    assert (status, text) == (200, "3eZbrw1aB10FEMAGAZd4FyFQ")
    assert headers["content-type"].startswith("text/plain")
    assert "tidegate-durability" not in headers
    assert answered("chat", 200) == before + 1
    assert await gate.waiting() == []


async def test_a_stranger_gets_no_challenge_back(gate: Running) -> None:
    """Else the URL could be given to Slack by anybody, and pass for theirs."""
    asked = b'{"type": "url_verification", "challenge": "c"}'
    headers, _ = gate.signed("chat", asked)
    for sent in ([("Content-Type", "application/json")], [(n, v.replace("v0=", "v0=0")) for n, v in headers]):
        status, _, problem = await gate.raw("POST", "/webhooks/chat", data=asked, headers=sent)
        assert (status, problem["type"]) == (401, "urn:tidegate:problem:unauthorized")
    assert await gate.waiting() == []


async def test_a_handshake_by_get_is_answered_to_who_knows_the_token(gate: Running) -> None:
    query = "?hub.mode=subscribe&hub.challenge=1158201444"
    before = answered("social", 200), answered("social", 401)
    status, _, text = await gate.raw("GET", f"/webhooks/social{query}&hub.verify_token={VERIFY}")
    assert (status, text) == (200, "1158201444")
    status, _, problem = await gate.raw("GET", f"/webhooks/social{query}&hub.verify_token=guess")
    assert (status, problem["status"]) == (401, 401)
    assert (answered("social", 200), answered("social", 401)) == (before[0] + 1, before[1] + 1)
    assert await gate.waiting() == []


@pytest.mark.parametrize("challenge", ["", "a" * 2000, "%00", "%FF%FE", "%0d%0aX:y"])
async def test_a_challenge_is_text_whatever_it_is(gate: Running, challenge: str) -> None:
    path = f"/webhooks/social?hub.mode=subscribe&hub.verify_token={VERIFY}&hub.challenge={challenge}"
    status, headers, _ = await gate.raw("GET", path)
    assert status in (200, 400)
    assert "x" not in headers
    assert headers["content-type"] in ("text/plain; charset=utf-8", "application/problem+json")
    assert headers["x-content-type-options"] == "nosniff"


async def test_a_challenge_in_a_header_comes_back_as_json_or_as_a_header(gate: Running) -> None:
    status, _, found = await gate.raw("GET", "/webhooks/hooks", headers={"X-Okta-Verification-Challenge": "abc"})
    assert (status, found) == (200, {"verification": "abc"})
    status, headers, text = await gate.raw("POST", "/webhooks/acme", headers=FORM | {"X-Acme-Hello": "h1"})
    assert (status, headers["x-acme-hello"], text) == (200, "h1", "")
    assert await gate.waiting() == []


async def test_a_handshake_by_head_is_answered_without_a_body(gate: Running) -> None:
    status, _, text = await gate.raw("HEAD", "/webhooks/board")
    assert (status, text) == (200, "")


async def test_a_sender_of_cloudevents_is_permitted_and_told_the_rate(gate: Running) -> None:
    asked = {
        "WebHook-Request-Origin": "emitter.example.com",
        "WebHook-Request-Rate": "1000",
        "WebHook-Request-Callback": f"{gate.url}/webhooks/chat",
    }
    others = answered("chat", 405)
    status, headers, text = await gate.raw("OPTIONS", "/webhooks/events", headers=asked)
    assert (status, text, headers["allow"]) == (200, "", "POST")
    assert (headers["webhook-allowed-origin"], headers["webhook-allowed-rate"]) == ("emitter.example.com", "120")
    assert answered("chat", 405) == others, "the callback is a stranger's URL"
    # Who does not ask is told which methods there are, and gets no permission.
    status, headers, _ = await gate.raw("OPTIONS", "/webhooks/events")
    assert (status, headers["allow"]) == (204, "OPTIONS, POST")
    assert "webhook-allowed-origin" not in headers
    assert not [name for name in headers if name.lower().startswith("access-control")]


# ---- Methods


@pytest.mark.parametrize(
    ("source", "method", "allow"),
    [
        ("chat", "GET", "POST"),
        ("chat", "HEAD", "POST"),
        ("social", "PUT", "GET, POST"),
        ("social", "GET", "GET, POST"),
        ("board", "GET", "HEAD, POST"),
        ("events", "DELETE", "OPTIONS, POST"),
    ],
)
async def test_405_names_what_is_allowed(gate: Running, source: str, method: str, allow: str) -> None:
    before = answered(source, 405)
    status, headers, _ = await gate.raw(method, f"/webhooks/{source}")
    assert (status, headers["allow"]) == (405, allow)
    assert answered(source, 405) == before + 1


async def test_a_get_with_a_body_is_no_handshake(gate: Running) -> None:
    path = f"/webhooks/social?hub.mode=subscribe&hub.verify_token={VERIFY}&hub.challenge=1"
    assert (await gate.raw("GET", path, data=b"{}"))[0] == 405


# ---- Answers in the provider's own terms


@pytest.mark.parametrize(
    ("source", "body", "more", "status", "kind", "answer"),
    [
        ("chat", b'{"type": "event_callback", "event_id": "Ev1"}', {}, 200, "application/json", "accepted"),
        ("acme", b"id=1&kind=k", FORM, 201, "text/plain", "OK-42"),
        ("calls", b"MessageSid=SM1&MessageStatus=sent", FORM, 200, "text/xml", "<Response/>"),
        ("shop", b'{"id": 1}', {"X-Shopify-Topic": "orders/create", "X-Shopify-Webhook-Id": "w"}, 200, "application/json", "ids"),
        ("events", b'{"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}', {}, 202, "application/json", "ids"),
    ],
)  # fmt: skip
async def test_success_is_what_the_provider_waits_for(
    gate: Running, source: str, body: bytes, more: dict[str, str], status: int, kind: str, answer: str
) -> None:
    headers, signed = gate.sources[source].adapter.sign(
        body, url=f"{gate.url}/webhooks/{source}", now_seconds=time.time(), message_id="m", headers=list(more.items())
    )
    found, told, text = await gate.raw("POST", f"/webhooks/{source}", data=signed, headers=headers)
    assert (found, told["content-type"].partition(";")[0]) == (status, kind)
    assert told["tidegate-durability"] == "redis"
    assert answer in (text if isinstance(text, str) else json.dumps(text))
    assert len(await gate.waiting()) == 1


async def test_a_refusal_is_the_code_that_ends_the_retries(gate: Running) -> None:
    status, _, problem = await gate.raw("POST", "/webhooks/acme", data=b"kind=k", headers=FORM | TOKEN)
    assert (status, problem["status"], problem["type"]) == (422, 422, "urn:tidegate:problem:no-event-id")
    password = "Basic " + "dXNlcjpjOWIxLXNlY3JldC1vZi10aG9zZS10aGF0LWdyZWV0"
    headers = {"Authorization": password, "Content-Type": "application/json"}
    assert (await gate.raw("POST", "/webhooks/mail", data=b"{", headers=headers))[0] == 403
    # A stranger is told what is the case, and so is a provider whose type is no secret.
    assert (await gate.raw("POST", "/webhooks/acme", data=b"kind=k", headers=FORM))[0] == 401
    assert (await gate.raw("POST", "/webhooks/acme", data=b"a", headers={"content-type": "text/html"} | TOKEN))[
        0
    ] == 415


async def test_too_much_is_the_code_that_brings_it_again(gate: Running) -> None:
    async def post(name: str) -> tuple[int, Any, Any]:
        body = f"id={name}&kind=k".encode()
        return await gate.raw("POST", "/webhooks/slow", data=body, headers=FORM | TOKEN)

    assert (await post("1"))[0] == 201
    status, headers, problem = await post("2")
    assert (status, problem["status"], problem["type"]) == (529, 529, "urn:tidegate:problem:rate-limited")
    assert headers["retry-after"] == "100"
    await Pauses(gate.stream.client, gate.stream.keys[0].prefix).set("acme", "refuse", "migration")

    async def refused() -> bool:
        status, headers, problem = await gate.raw("POST", "/webhooks/acme", data=b"id=1&kind=k", headers=FORM | TOKEN)
        assert (status, problem if status == 201 else problem["type"]) in PAUSED
        return status == 529 and int(headers["retry-after"]) >= 1

    await until(refused)


# ---- Forms


async def test_a_form_is_stored_as_json(gate: Running) -> None:
    body = b"command=%2Fweather&text=%E2%82%AC+94070&trigger_id=13345&team_id=T1&x=1&x=2&empty="
    headers, signed = gate.sources["chat"].adapter.sign(
        body, url="", now_seconds=time.time(), message_id="m", headers=list(FORM.items())
    )
    assert (await gate.raw("POST", "/webhooks/chat", data=signed, headers=headers))[0] == 200
    (delivery,) = await gate.waiting()
    assert (delivery.event.provider_event_id, delivery.event.event_type) == ("13345", "/weather")
    assert json.loads(delivery.event.payload) == {
        "command": "/weather",
        "text": "\u20ac 94070",
        "trigger_id": "13345",
        "team_id": "T1",
        "x": ["1", "2"],
        "empty": "",
    }


@pytest.mark.parametrize("body", [b"id=%FF&kind=k", b"id=\xff", b"a=1&" * 1100])
async def test_a_form_that_cannot_be_stored_is_refused(gate: Running, body: bytes) -> None:
    assert (await gate.raw("POST", "/webhooks/acme", data=body, headers=FORM | TOKEN))[0] == 422
    assert await gate.waiting() == []


# ---- CloudEvents


@pytest.mark.parametrize(("depth", "status"), [(255, 202), (256, 400)])
async def test_json_in_a_field_of_a_form_is_no_way_around_the_limit_of_depth(
    gate: Running, depth: int, status: int
) -> None:
    nested = json.dumps({"action": "x", "deep": "@"}).replace('"@"', "[" * depth + "]" * depth)
    headers, body = gate.sources["code"].adapter.sign(
        b"payload=" + quote(nested, safe="").encode(),
        url="",
        now_seconds=time.time(),
        message_id="m",
        headers=[*FORM.items(), ("X-GitHub-Delivery", "d"), ("X-GitHub-Event", "push")],
    )
    assert (await gate.raw("POST", "/webhooks/code", data=body, headers=headers))[0] == status
    assert len(await gate.waiting()) == (status == 202)


@pytest.mark.parametrize("name", ["X-Original-URL", "X-Forwarded-Uri", "Referer"])
async def test_a_token_in_the_url_is_not_kept_where_a_proxy_repeats_the_url(gate: Running, name: str) -> None:
    called = f"/webhooks/events?access_token={SECRET}"
    event = b'{"id":"1","source":"/s","specversion":"1.0","type":"t"}'
    headers = {"content-type": "application/cloudevents+json", name: f"https://hooks.example.com{called}"}
    assert (await gate.raw("POST", called, data=event, headers=headers))[0] == 202
    (delivery,) = await gate.waiting()
    assert dict(delivery.event.headers)[name.lower()].endswith("/webhooks/events?access_token=***")


async def test_cloudevents_come_in_every_mode_and_each_is_one_event(gate: Running) -> None:
    bearer = {"Authorization": f"Bearer {SECRET}"}
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "é", "data": {"n": 1}}
    structured = bearer | {"content-type": "application/cloudevents+json; charset=UTF-8"}
    assert (await gate.raw("POST", "/webhooks/events", data=json.dumps(event), headers=structured))[0] == 202
    batch = bearer | {"content-type": "application/cloudevents-batch+json"}
    several = json.dumps([event, event | {"id": "2"}])
    status, _, told = await gate.raw("POST", "/webhooks/events", data=several, headers=batch)
    assert (status, told["accepted"], told["duplicates"]) == (202, 1, 1)
    status, _, told = await gate.raw("POST", "/webhooks/events", data="[]", headers=batch)
    assert (status, told) == (202, {"accepted": 0, "duplicates": 0, "ids": []})
    ce = {"ce-specversion": "1.0", "ce-id": "3", "ce-source": "/s", "ce-type": "t", "ce-subject": "%C3%A9"}
    path = f"/webhooks/events?access_token={quote(SECRET)}"
    status, _, told = await gate.raw(
        "POST", path, data=b"\x00\xff", headers=ce | {"content-type": "application/octet-stream"}
    )
    assert (status, told["accepted"]) == (202, 1)
    deliveries = sorted(await gate.waiting(), key=lambda delivery: delivery.event.provider_event_id)
    assert [delivery.event.provider_event_id for delivery in deliveries] == ["/s 1", "/s 2", "/s 3"]
    assert [delivery.event.key for delivery in deliveries] == ["subject:é"] * 3
    assert json.loads(deliveries[2].event.payload)["data_base64"] == "AP8="
    for delivery in deliveries:
        assert SECRET not in json.dumps(dict(delivery.event.headers))


@pytest.mark.parametrize(
    ("content_type", "more", "status"),
    [
        ("application/cloudevents+avro", {}, 415),
        ("application/cloudevents-batch+protobuf", {}, 415),
        ("application/cloudevents+json", {"Authorization": "Bearer guess"}, 401),
        ("application/json", {}, 400),
        ("text/plain", {"ce-id": "%C0%A0"}, 400),
    ],
)
async def test_what_is_no_cloudevent_is_refused(
    gate: Running, content_type: str, more: dict[str, str], status: int
) -> None:
    headers = {"Authorization": f"Bearer {SECRET}", "content-type": content_type} | more
    assert (await gate.raw("POST", "/webhooks/events", data=b"{}", headers=headers))[0] == status
    assert await gate.waiting() == []
