"""What a user's scripts rely on: the admin API's answers, its refusals, and that it never shows a traceback."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import psycopg
import pytest
from yarl import URL

from consumer.outcome import Outcome
from dlq.api import document, routes
from dlq.desk import CHANGES_PER_SECOND, IDS_MAX, Desk
from tests.conftest import SCHEMA
from tests.dlq.conftest import BEARER, TOKEN, Bury, Mood, serving
from tests.fixtures import Rig, appendable, event
from tidegate import inbox, postgres
from tidegate.embedded import PostgresServer, RedisServer
from tidegate.event import Delivery
from tidegate.settings import PostgresSettings
from tidegate.stream import Stream, connect

NOBODY = "00000000-0000-4000-8000-000000000000"


async def problem(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """Return the problem in an answer, after looking at its form."""
    text = await response.text()
    assert response.content_type == "application/problem+json"
    assert "Traceback" not in text
    found: dict[str, Any] = json.loads(text)
    assert found["status"] == response.status
    return found


async def get(api: aiohttp.ClientSession, path: str | URL, **parameters: str) -> Any:
    async with api.get(path, params=parameters) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def post(api: aiohttp.ClientSession, path: str, ids: list[Any]) -> Any:
    async with api.post(path, json={"ids": [str(one) for one in ids]}) as response:
        assert response.status == 200, await response.text()
        return await response.json()


class TestWhoMayComeIn:
    async def test_nothing_is_there_without_the_token(self, http: aiohttp.ClientSession) -> None:
        wrong = ("", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff", None)
        for path in ("/api/ledger", "/api/openapi.json", "/api/nothing-like-that"):
            for authorization in wrong:
                headers = {} if authorization is None else {"Authorization": authorization}
                async with http.get(path, headers=headers) as response:
                    assert response.status == 401, (path, authorization)
                    assert response.headers["WWW-Authenticate"] == "Bearer"
                    await problem(response)

    async def test_a_change_without_the_token_changes_nothing(
        self, http: aiohttp.ClientSession, bury: Bury, rig: Rig
    ) -> None:
        (letter,) = await bury(event("a"))
        for verb in ("replay", "discard"):
            async with http.post(f"/api/dead-letters/{verb}", json={"ids": [str(letter)]}) as response:
                assert response.status == 401
        assert await rig.rows("SELECT status FROM dead_letters") == [("open",)]

    async def test_the_scheme_is_told_in_any_case(self, http: aiohttp.ClientSession) -> None:
        async with http.get("/api/ledger", headers={"Authorization": f"bEARER {TOKEN}"}) as response:
            assert response.status == 200

    async def test_a_console_session_is_no_bearer(self, http: aiohttp.ClientSession, site: str) -> None:
        async with http.post("/login", data={"token": TOKEN}, headers={"Origin": site}) as response:
            assert response.status == 200
        async with http.get("/api/ledger") as response:
            assert response.status == 401

    async def test_health_needs_no_token(self, http: aiohttp.ClientSession) -> None:
        for path in ("/livez", "/readyz", "/metrics"):
            async with http.get(path) as response:
                assert response.status == 200


class TestList:
    async def test_letters_come_newest_first_page_by_page(self, api: aiohttp.ClientSession, bury: Bury) -> None:
        ids = [str(one) for one in await bury(*(event(f"e-{number}") for number in range(5)))]
        seen: list[str] = []
        parameters = {"limit": "2"}
        while True:
            page = await get(api, "/api/dead-letters", **parameters)
            seen += [item["id"] for item in page["items"]]
            if page["next"] is None:
                break
            assert len(page["items"]) == 2
            parameters["cursor"] = page["next"]
        assert seen == ids[::-1]

    async def test_a_page_turns_between_letters_of_the_same_instant(
        self, api: aiohttp.ClientSession, bury: Bury, rig: Rig
    ) -> None:
        ids = {str(one) for one in await bury(*(event(f"e-{number}") for number in range(3)))}
        await rig.rows_none("UPDATE dead_letters SET created_at = '2026-01-01'")
        first = await get(api, "/api/dead-letters", limit="2")
        second = await get(api, "/api/dead-letters", limit="2", cursor=first["next"])
        assert {item["id"] for item in first["items"] + second["items"]} == ids
        assert second["next"] is None

    async def test_filters_choose(self, api: aiohttp.ClientSession, bury: Bury, rig: Rig) -> None:
        old, _, _ = await bury(
            event("a", source="shop", event_type="order.paid"),
            event("b", source="crm", event_type="order_paid"),
            event("c", source="crm", event_type="contact.updated"),
        )
        await rig.rows_none(f"UPDATE dead_letters SET created_at = now() - interval '3 hours' WHERE id = '{old}'")

        async def names(**parameters: str) -> str:
            page = await get(api, "/api/dead-letters", **parameters)
            return "".join(sorted(item["provider_event_id"] for item in page["items"]))

        assert await names() == "abc"
        assert await names(source="crm") == "bc"
        assert await names(type="order*") == "ab"
        assert await names(type="order_paid") == "b"
        assert await names(reason="rejected") == "abc"
        assert await names(reason="orphaned") == ""
        assert await names(status="open", source="shop") == "a"
        assert await names(status="resolved") == ""
        assert await names(since="2h") == "bc"
        assert await names(until="2h") == "a"
        assert await names(since="2020-01-01T00:00:00+00:00", until="2020-01-02") == ""
        assert await names(source="", type="", reason="", cursor="", limit="") == "abc"
        async with api.get("/api/dead-letters?since=2020-01-01T00:00:00+02:00") as response:
            assert response.status == 200  # the + as most people write it: unescaped

    async def test_what_cannot_be_meant_is_422_and_says_which(self, api: aiohttp.ClientSession) -> None:
        for parameters, name in (
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("limit=ten", "limit"),
            ("status=closed", "status"),
            ("reason=bad+luck", "reason"),
            ("since=yesterday", "since"),
            ("since=999999w", "since"),
            ("cursor=e30", "cursor"),
            ("cursor=%ff", "cursor"),
            ("source=%00", "source"),
            ("sauce=crm", "sauce"),
            ("source=a&source=b", "source"),
        ):
            async with api.get(URL(f"/api/dead-letters?{parameters}", encoded=True)) as response:
                assert response.status == 422, parameters
                assert [error["name"] for error in (await problem(response))["errors"]] == [name]


class TestLetter:
    async def test_a_letter_has_its_payload_headers_and_history(self, api: aiohttp.ClientSession, bury: Bury) -> None:
        sent = event("a", payload=b'{"price": 1.10}', headers={"user-agent": "shop/1"})
        (letter_id,) = await bury(sent)
        letter = await get(api, f"/api/dead-letters/{letter_id}")
        assert letter["payload"] == '{"price": 1.10}'
        assert letter["headers"] == {"user-agent": "shop/1"}
        assert [(past["reason"], past["error"]) for past in letter["history"]] == [("rejected", "not today")]
        assert (letter["delivery_id"], letter["status"], letter["attempts"]) == (str(sent.delivery_id), "open", 1)

    async def test_bytes_that_are_no_text_come_in_base64(self, api: aiohttp.ClientSession, bury: Bury) -> None:
        raw = b"\xff\x00<script>"
        (letter_id,) = await bury(Delivery(event("a", payload=raw), malformed="not JSON"))
        letter = await get(api, f"/api/dead-letters/{letter_id}")
        assert base64.b64decode(letter["payload_base64"]) == raw
        assert "payload" not in letter
        assert letter["reason"] == "malformed"

    async def test_a_letter_that_is_not_there(self, api: aiohttp.ClientSession) -> None:
        for letter_id, status in ((NOBODY, 404), ("12", 422), ("%00", 422)):
            async with api.get(URL(f"/api/dead-letters/{letter_id}", encoded=True)) as response:
                assert response.status == status
                await problem(response)


class TestChanges:
    async def test_replay_says_what_became_of_each_id(
        self, api: aiohttp.ClientSession, bury: Bury, rig: Rig, mood: Mood
    ) -> None:
        a, b, c = await bury(event("a"), event("b"), event("c"))
        assert await post(api, "/api/dead-letters/discard", [c]) == {
            "discarded": [str(c)],
            "unknown": [],
            "skipped": [],
        }
        assert await post(api, "/api/dead-letters/replay", [b, NOBODY, a, c, a]) == {
            "replayed": [str(b), str(a)],
            "unknown": [NOBODY],
            "skipped": [str(c)],
        }
        mood.error = None
        assert await rig.drain() == {Outcome.APPLIED: 2}
        assert await rig.rows("SELECT status FROM dead_letters ORDER BY provider_event_id") == [
            ("resolved",),
            ("resolved",),
            ("discarded",),
        ]
        assert (await post(api, "/api/dead-letters/discard", [a]))["skipped"] == [str(a)]

    async def test_a_hundred_go_at_once(self, api: aiohttp.ClientSession, bury: Bury, rig: Rig, mood: Mood) -> None:
        ids = await bury(*(event(f"e-{number}") for number in range(60)))
        unknown = [uuid.uuid4() for _ in range(IDS_MAX - 60)]
        answer = await post(api, "/api/dead-letters/replay", [*ids, *unknown])
        assert [len(answer[name]) for name in ("replayed", "unknown", "skipped")] == [60, IDS_MAX - 60, 0]
        mood.error = None
        assert await rig.drain() == {Outcome.APPLIED: 60}

    async def test_what_cannot_be_meant_is_422(self, api: aiohttp.ClientSession) -> None:
        bodies = (
            "",
            "null",
            "{",
            "[" * 10_000,
            "{}",
            '{"ids": []}',
            '{"ids": "x"}',
            '{"ids": [1]}',
            '{"ids": ["not-a-uuid"]}',
            json.dumps({"ids": [NOBODY], "all": True}),
            json.dumps({"ids": [NOBODY] * (IDS_MAX + 1)}),
            b"\xff",
        )
        for verb in ("replay", "discard"):
            for body in bodies:
                async with api.post(f"/api/dead-letters/{verb}", data=body) as response:
                    assert response.status == 422, (verb, body)
                    assert (await problem(response))["errors"]

    async def test_a_body_without_end_is_refused_before_its_end(self, api: aiohttp.ClientSession) -> None:
        async def endless() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b" " * 1000

        async with api.post("/api/dead-letters/replay", data=endless()) as response:
            assert response.status == 413
            await problem(response)

    async def test_faster_than_the_limit_is_429_and_says_when(self, api: aiohttp.ClientSession) -> None:
        statuses: list[int] = []
        for _ in range(4 * CHANGES_PER_SECOND):
            async with api.post("/api/dead-letters/replay", json={"ids": [NOBODY]}) as response:
                statuses.append(response.status)
                if response.status == 429:
                    assert response.headers["Retry-After"] == "1"
                    await problem(response)
        assert statuses[:CHANGES_PER_SECOND] == [200] * CHANGES_PER_SECOND
        assert 429 in statuses

    async def test_a_change_is_not_a_get(self, api: aiohttp.ClientSession) -> None:
        async with api.delete("/api/dead-letters/replay") as response:
            assert response.status == 405
            await problem(response)


class TestSight:
    async def test_the_ledger_shows_both_sides(self, api: aiohttp.ClientSession, bury: Bury) -> None:
        await bury(event("a"))
        ledger = await get(api, "/api/ledger")
        assert (ledger["accepted"], ledger["dead"], ledger["came"], ledger["found"]) == (1, 1, 1, 1)
        assert (ledger["unaccounted"], ledger["postgres"]["letters"]) == (0, {"open": 1})

    async def test_the_overview_shows_what_waits_and_what_is_open(
        self, api: aiohttp.ClientSession, bury: Bury, rig: Rig
    ) -> None:
        await bury(event("a"), event("b", source="crm"))
        await rig.send(event("c"), event("d"))
        overview = await get(api, "/api/overview")
        assert (overview["unaccounted"], overview["backlog"], overview["retry"]) == (0, 2, 0)
        assert overview["oldest_backlog_ms"] >= 0
        assert overview["oldest_retry_ms"] is None
        assert overview["open_letters"] == 2
        assert overview["open_by_source"] == {"shop": 1, "crm": 1}
        assert overview["open_by_reason"] == {"rejected": 2}
        await rig.drain()

    async def test_the_inbox_and_what_redis_lost_are_shown(self, api: aiohttp.ClientSession, rig: Rig) -> None:
        upkeep = rig.upkeep(rig.worker())
        await rig.send(event("lost"))
        await upkeep.measure()
        for keys in rig.stream.keys:
            await rig.stream.client.delete(keys.events, keys.ledger, keys.epoch)
        await upkeep.measure()
        async with rig.pool.connection() as connection:
            await inbox.store(connection, [appendable(event("a"))], rows_max=10, bytes_max=1 << 20)
        ledger, overview = await get(api, "/api/ledger"), await get(api, "/api/overview")
        assert (ledger["unaccounted"], ledger["inbox"]["counted_rows"], ledger["missing_inbox"]) == (0, 1, 0)
        assert (overview["inbox"], overview["oldest_inbox_ms"] >= 0) == (1, True)
        assert ledger["resets"] == overview["resets"]
        assert [(reset["waiting"], reset["shards"]) for reset in overview["resets"]] == [(1, [0, 1])]
        described = (await get(api, "/api/openapi.json"))["components"]["schemas"]
        for name, shown in (("Ledger", ledger), ("Overview", overview), ("Reset", overview["resets"][0])):
            assert set(described[name]["required"]) == set(shown), f"{name} is not what openapi.json says"
        assert set(described["Ledger"]["properties"]["inbox"]["required"]) == set(ledger["inbox"])

    async def test_the_consumers_of_each_shard(self, api: aiohttp.ClientSession, rig: Rig) -> None:
        assert await get(api, "/api/consumers") == {"items": []}
        worker = rig.worker("w7")
        await worker.intake.make_groups()
        await rig.send(event("a"))
        entries = await worker.intake.next(block=False)
        consumers = (await get(api, "/api/consumers"))["items"]
        assert {consumer["name"] for consumer in consumers} == {"w7"}
        assert sum(consumer["pending"] for consumer in consumers) == 1
        assert all(consumer["idle_ms"] >= 0 for consumer in consumers)
        await worker.work(entries)

    async def test_an_event_is_found_wherever_it_is(
        self, api: aiohttp.ClientSession, bury: Bury, rig: Rig, mood: Mood
    ) -> None:
        name = "a/b?c#d %/ü"
        path = _path("shop", name)
        (letter_id,) = await bury(event(name))
        found = await get(api, path)
        assert (found["where"], found["event"]) == ("dead letter", None)
        assert [letter["id"] for letter in found["letters"]] == [str(letter_id)]
        await post(api, "/api/dead-letters/replay", [letter_id])
        assert (await get(api, path))["where"] == "replaying"
        mood.error = None
        await rig.drain()
        found = await get(api, path)
        assert (found["where"], found["event"]["event_type"]) == ("applied", "order.paid")
        assert found["provider_event_id"] == name

    async def test_an_event_nobody_wanted_is_ignored_and_an_unknown_one_is_404(
        self, api: aiohttp.ClientSession, rig: Rig
    ) -> None:
        await rig.send(event("a"))
        async with api.get(_path("shop", "a")) as response:
            assert response.status == 404
            await problem(response)
        await rig.drain()
        assert (await get(api, _path("shop", "a")))["where"] == "ignored"
        async with api.get("/api/events/shop/%00") as response:
            assert response.status == 404

    async def test_every_route_is_described_and_nothing_else(self, api: aiohttp.ClientSession) -> None:
        described = await get(api, "/api/openapi.json")
        assert described == document()
        assert described["openapi"].startswith("3.1")
        served = {
            ("/api" + route.path.replace(":path}", "}"), method.lower())
            for route in routes(Desk(None, None))  # type: ignore[arg-type]
            for method in (route.methods or set()) - {"HEAD"}
        }
        told = {(path, method) for path, item in described["paths"].items() for method in item}
        assert told == served
        _resolve(described, described)


def _path(source: str, name: str) -> URL:
    return URL(f"/api/events/{source}/{quote(name, safe='')}", encoded=True)


def _resolve(node: Any, whole: dict[str, Any]) -> None:
    """Follow every $ref; fail at one that leads nowhere."""
    if isinstance(node, dict):
        if "$ref" in node:
            target: Any = whole
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
        for item in node.values():
            _resolve(item, whole)
    elif isinstance(node, list):
        for item in node:
            _resolve(item, whole)


class TestOutages:
    async def test_without_redis_letters_are_read_and_the_rest_is_503(
        self, own_redis: Callable[..., RedisServer], rig: Rig, bury: Bury
    ) -> None:
        (letter_id,) = await bury(event("a"))
        redis = own_redis()
        client = connect(redis.url, timeout_seconds=1)
        stream = Stream(client, prefix="t", shards=1, repeat_seconds=0.1)
        async with serving(stream, rig.pool) as address, aiohttp.ClientSession(address, headers=BEARER) as api:
            redis.stop()
            assert len((await get(api, "/api/dead-letters"))["items"]) == 1
            for path in ("/api/ledger", "/api/overview", "/api/consumers"):
                async with api.get(path) as response:
                    assert response.status == 503
                    assert "Redis" in (await problem(response))["title"]
                    assert response.headers["Retry-After"]
            async with api.post("/api/dead-letters/replay", json={"ids": [str(letter_id)]}) as response:
                assert response.status == 503
                await problem(response)
        await client.aclose()
        # Cut off between the two servers: it can be taken up again, on a Redis that is there.
        assert await rig.rows("SELECT status FROM dead_letters") == [("replaying",)]
        async with serving(rig.stream, rig.pool) as address, aiohttp.ClientSession(address, headers=BEARER) as api:
            assert (await post(api, "/api/dead-letters/replay", [letter_id]))["replayed"] == [str(letter_id)]
        await rig.drain()

    async def test_without_postgres_everything_is_503(
        self, own_postgres: Callable[..., PostgresServer], stream: Stream
    ) -> None:
        server = own_postgres()
        with psycopg.connect(server.url) as connection:
            connection.execute(SCHEMA.read_bytes())
        settings = PostgresSettings(connect_timeout_seconds=1)
        async with postgres.pool(server.url, settings, "test") as pool, serving(stream, pool) as address:
            async with aiohttp.ClientSession(address, headers=BEARER) as api:
                assert (await get(api, "/api/dead-letters"))["items"] == []
                server.stop()
                for path in ("/api/dead-letters", f"/api/dead-letters/{NOBODY}", "/api/overview", "/api/events/a/b"):
                    async with api.get(path) as response:
                        assert response.status == 503
                        assert "Postgres" in (await problem(response))["title"]
                async with api.post("/api/dead-letters/discard", json={"ids": [NOBODY]}) as response:
                    assert response.status == 503
                    await problem(response)
                assert (await get(api, "/api/consumers"))["items"] == []

    async def test_a_fault_of_ours_is_500_without_a_traceback(
        self, api: aiohttp.ClientSession, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(_shard: int) -> None:
            raise ZeroDivisionError("secret detail")

        with monkeypatch.context() as patch:
            patch.setattr(rig.stream, "audit", broken)
            async with api.get("/api/ledger") as response:
                assert response.status == 500
                assert "secret" not in str(await problem(response))
