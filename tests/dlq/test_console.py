"""What a person at 3 a.m. relies on: the console lets nobody else in, changes what was asked, and shows hostile bytes tame."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any
from uuid import UUID

import aiohttp
import pytest
import pytest_asyncio

from consumer.outcome import Outcome
from dlq import readable
from dlq.access import SESSION, SESSION_SECONDS, Access
from dlq.query import moment
from tests.dlq.conftest import TOKEN, Bury, Mood, serving
from tests.fixtures import Rig, appendable, event
from tidegate import Reject, inbox
from tidegate.embedded import RedisServer
from tidegate.event import Delivery
from tidegate.stream import Stream, connect

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest_asyncio.fixture
async def browser(http: aiohttp.ClientSession, site: str) -> aiohttp.ClientSession:
    """A browser that is signed in."""
    async with http.post("/login", data={"token": TOKEN}, headers={"Origin": site}, allow_redirects=False) as response:
        assert response.status == 303
    http.headers["Origin"] = site
    return http


async def page(browser: aiohttp.ClientSession, path: str, status: int = 200) -> str:
    async with browser.get(path, allow_redirects=False) as response:
        assert response.status == status, await response.text()
        assert "Traceback" not in await response.text()
        return await response.text()


async def send(browser: aiohttp.ClientSession, fields: list[tuple[str, str]], **headers: str) -> tuple[int, str]:
    """Post the form of letters; return the status and where the answer leads."""
    async with browser.post("/letters", data=fields, headers=headers, allow_redirects=False) as response:
        return response.status, response.headers.get("Location", "")


def _chosen(action: str, *ids: UUID, back: str = "/letters") -> list[tuple[str, str]]:
    return [("back", back), ("action", action), *(("id", str(one)) for one in ids)]


class TestWhoMayComeIn:
    async def test_without_a_session_every_page_leads_to_the_sign_in(self, http: aiohttp.ClientSession) -> None:
        for path in ("/", "/letters", f"/letters/{NOBODY}", f"/letters/{NOBODY}/payload", "/nothing-like-that"):
            async with http.get(path, allow_redirects=False) as response:
                assert (response.status, response.headers["Location"][:6]) == (303, "/login")
        async with http.get("/letters?source=a&type=b", allow_redirects=False) as response:
            assert response.headers["Location"] == "/login?next=/letters%3Fsource%3Da%26type%3Db"
        assert '<input id="token" name="token" type="password"' in await page(http, "/login")

    async def test_signing_in_leads_to_the_page_that_was_asked_for(
        self, http: aiohttp.ClientSession, site: str
    ) -> None:
        form = {"token": TOKEN, "next": "/letters?source=a"}
        async with http.post("/login", data=form, headers={"Origin": site}, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "/letters?source=a")
            cookie = SimpleCookie(response.headers["Set-Cookie"])[SESSION]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
        assert not cookie["secure"]  # plain http here
        assert TOKEN not in cookie.value
        await page(http, "/letters")

    async def test_over_https_the_cookie_stays_there(self, http: aiohttp.ClientSession, site: str) -> None:
        headers = {"Origin": site, "X-Forwarded-Proto": "https"}
        async with http.post("/login", data={"token": TOKEN}, headers=headers, allow_redirects=False) as response:
            assert "; secure" in response.headers["Set-Cookie"].lower()

    async def test_a_wrong_token_makes_no_session(self, http: aiohttp.ClientSession, site: str) -> None:
        for token in ("", "wrong", TOKEN[:-1], "\udcff"):
            data = f"token={token}".encode("utf-8", "surrogateescape")
            headers = {"Origin": site, "Content-Type": "application/x-www-form-urlencoded"}
            async with http.post("/login", data=data, headers=headers, allow_redirects=False) as response:
                assert response.status == 403
                assert "Set-Cookie" not in response.headers
                assert "That is not the token" in await response.text()

    async def test_signing_in_never_leads_elsewhere(self, http: aiohttp.ClientSession, site: str) -> None:
        for elsewhere in (
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example",
            "javascript:alert(1)",
            "/\n/x",
        ):
            form = {"token": TOKEN, "next": elsewhere}
            async with http.post("/login", data=form, headers={"Origin": site}, allow_redirects=False) as response:
                assert response.headers["Location"] == "/"
            assert "evil" not in await page(http, f"/login?next={elsewhere}")

    async def test_signing_out_ends_the_session(self, browser: aiohttp.ClientSession) -> None:
        async with browser.post("/logout", allow_redirects=False) as response:
            assert response.headers["Location"] == "/login"
        await page(browser, "/", status=303)

    def test_a_session_ends_and_cannot_be_made_up(self) -> None:
        now = 1_000_000.0
        access = Access("a", lambda: now)
        session = access.new_session()
        assert access.is_session(session)
        until, _, signature = session.partition(".")
        made_up = (None, "", ".", session[:-1], f"{int(until) + 1}.{signature}", f"{until}.", "\udcff.\udcff", "é.é")
        assert not any(access.is_session(cookie) for cookie in made_up)
        assert not Access("b", lambda: now).is_session(session)
        now += SESSION_SECONDS
        assert not access.is_session(session)


class TestOtherSites:
    async def test_a_form_of_another_site_changes_nothing(
        self, browser: aiohttp.ClientSession, bury: Bury, rig: Rig, site: str
    ) -> None:
        (letter,) = await bury(event("a"))
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": f"{site}.evil.example"},
            {"Origin": site, "Sec-Fetch-Site": "cross-site"},
            {"Origin": site, "Sec-Fetch-Site": "same-site"},
        ):
            assert (await send(browser, _chosen("discard", letter), **headers))[0] == 403
        del browser.headers["Origin"]
        assert (await send(browser, _chosen("discard", letter)))[0] == 403
        assert await rig.rows("SELECT status FROM dead_letters") == [("open",)]

    async def test_pages_may_load_nothing_and_be_framed_by_nobody(
        self, browser: aiohttp.ClientSession, bury: Bury
    ) -> None:
        (letter,) = await bury(event("a"))
        for path in ("/", "/letters", f"/letters/{letter}", "/login", "/nothing", "/static/console.css", "/api/ledger"):
            async with browser.get(path) as response:
                policy = response.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert "script-src" not in policy
                assert "unsafe" not in policy
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Referrer-Policy"] == "same-origin"
                assert response.headers["Cache-Control"] == "no-store"
                text = await response.text()
            # What the policy would not let through is not there in the first place.
            assert not re.search(r"<script|<style|\sstyle=|\son\w+=|(?:src|href|action)=\"(?:https?:)?//", text)


class TestHostileLetters:
    async def test_a_script_in_every_field_is_shown_and_never_run(
        self, browser: aiohttp.ClientSession, bury: Bury, mood: Mood
    ) -> None:
        evil = "\"'><script>alert(1)</script>\u202e{{7*7}}\x1b[31m"
        mood.error = Reject(evil)
        (letter,) = await bury(
            event(
                evil,
                source=evil,
                provider=evil,
                event_type=evil,
                key=evil,
                payload=f'{{"{evil.encode("unicode_escape").decode()[1:]}": 1}} {evil}'.encode(),
                headers={evil: evil},
            )
        )
        malformed = await bury(Delivery(event("b", payload=b"\xff\x00</pre><script>\xfe"), malformed=evil))
        pages = ("/", "/letters", "/letters?status=", f"/letters/{letter}", f"/letters/{malformed[0]}")
        for path in pages:
            text = await page(browser, path)
            assert "<script" not in text, path
            assert "\u202e" not in text, path  # turns what follows it around
            assert "\x1b" not in text, path
            assert "{{7*7}}" in text or path == f"/letters/{malformed[0]}", path
        shown = html.unescape(await page(browser, f"/letters/{letter}"))
        assert shown.count("<script>alert(1)</script>") >= 6
        for path in (
            "/letters?source=%3Cscript%3E",
            "/letters?since=%3Cscript%3E",
            "/letters/%3Cscript%3E",
            "/%3Cscript%3E",
        ):
            async with browser.get(path) as response:
                assert "<script" not in await response.text()

    async def test_a_payload_is_downloaded_as_received_and_never_a_page(
        self, browser: aiohttp.ClientSession, bury: Bury
    ) -> None:
        raw = b"<html><script>alert(1)</script>\xff\x00"
        (letter,) = await bury(Delivery(event("a", payload=raw), malformed="no"))
        async with browser.get(f"/letters/{letter}/payload") as response:
            assert await response.read() == raw
            assert response.content_type == "application/octet-stream"
            assert response.headers["Content-Disposition"].startswith("attachment")


class TestLetters:
    async def test_the_list_shows_open_letters_and_turns_its_pages(
        self, browser: aiohttp.ClientSession, bury: Bury, rig: Rig
    ) -> None:
        await bury(*(event(f"event-{number:02}", source="a&b") for number in range(53)))
        first = await page(browser, "/letters?source=a%26b")
        assert re.findall(r"event-\d\d(?=</span>)", first) == [f"event-{number:02}" for number in range(52, 2, -1)]
        (older,) = re.findall(r'href="([^"]+)">Older', first)
        second = await page(browser, html.unescape(older))
        assert re.findall(r"event-\d\d(?=</span>)", second) == ["event-02", "event-01", "event-00"]
        assert "Older" not in second
        everything = await page(browser, "/letters?select=all")
        assert len(re.findall(r'name="id"[^>]+checked', everything)) == 50

    async def test_what_was_selected_is_replayed_and_the_page_says_so(
        self, browser: aiohttp.ClientSession, bury: Bury, rig: Rig, mood: Mood
    ) -> None:
        a, b, c = await bury(event("a"), event("b"), event("c"))
        back = "/letters?source=shop&status=open"
        assert await send(browser, _chosen("replay", a, b, back=back)) == (303, f"{back}&replayed=2")
        assert "2 sent back to the stream." in await page(browser, f"{back}&replayed=2")
        mood.error = None
        assert await rig.drain() == {Outcome.APPLIED: 2}
        status, where = await send(browser, _chosen("discard", a, c, back=f"{back}&replayed=2"))
        assert (status, where) == (303, f"{back}&discarded=1&skipped=1")
        said = await page(browser, where)
        assert "1 discarded. 1 left as they were" in " ".join(said.split())
        assert await rig.rows("SELECT status FROM dead_letters ORDER BY provider_event_id") == [
            ("resolved",),
            ("resolved",),
            ("discarded",),
        ]
        assert "by another delivery" not in await page(browser, f"/letters/{a}")
        assert "was replayed and applied" in await page(browser, f"/letters/{a}")

    async def test_selecting_nothing_does_nothing(self, browser: aiohttp.ClientSession) -> None:
        for action, said in (("replay", "replayed=0"), ("discard", "discarded=0")):
            assert await send(browser, _chosen(action)) == (303, f"/letters?{said}")
            assert "Nothing was selected." in await page(browser, f"/letters?{said}")

    async def test_a_form_that_is_none_of_ours_is_refused(
        self, browser: aiohttp.ClientSession, bury: Bury, rig: Rig
    ) -> None:
        (letter,) = await bury(event("a"))
        assert (await send(browser, _chosen("delete", letter)))[0] == 422
        assert (await send(browser, [("action", "replay"), ("id", "1")]))[0] == 422
        assert (await send(browser, _chosen("replay", *[letter] * 101)))[0] == 422
        assert (await send(browser, [("action", "replay"), ("x", "y" * 20_000)]))[0] == 413
        async with browser.post("/letters", json={"ids": [str(letter)]}) as response:
            assert response.status == 415
        status, where = await send(browser, _chosen("discard", letter, back="https://evil.example/"))
        assert (status, where) == (303, "/letters?discarded=1")

    async def test_a_letter_shows_what_is_needed_to_judge_it(self, browser: aiohttp.ClientSession, bury: Bury) -> None:
        (letter,) = await bury(event("a", payload=b'{"price":1.10,"lines":[]}', headers={"user-agent": "shop/1"}))
        text = html.unescape(await page(browser, f"/letters/{letter}"))
        for expected in (
            "order.paid",
            "not today",
            "The handler refused it.",
            "shop/1",
            '"price": 1.10,\n  "lines": []',
        ):
            assert expected in text

    async def test_an_event_that_took_effect_by_another_delivery_is_said(
        self, browser: aiohttp.ClientSession, bury: Bury, rig: Rig, mood: Mood
    ) -> None:
        (letter,) = await bury(event("a"))
        mood.error = None
        # The provider sends it again, after the gate forgot it.
        shard = rig.stream.shard_of("shop", "a")
        await rig.stream.client.delete(*rig.stream._seen(rig.stream.keys[shard]))
        await rig.send(event("a"))
        await rig.drain()
        assert "by another delivery" in await page(browser, f"/letters/{letter}")

    async def test_what_is_not_there_and_what_cannot_be_meant(self, browser: aiohttp.ClientSession) -> None:
        assert "No such letter" in await page(browser, f"/letters/{NOBODY}", 404)
        await page(browser, f"/letters/{NOBODY}/payload", 404)
        await page(browser, "/nothing-like-that", 404)
        await page(browser, "/letters/12", 422)
        assert "no time" in await page(browser, "/letters?since=yesterday", 422)


class TestOverview:
    async def test_the_verdict_and_both_sides(self, browser: aiohttp.ClientSession, bury: Bury) -> None:
        await bury(event("a"), event("b"))
        text = " ".join(re.sub(r"<[^>]+>", " ", await page(browser, "/")).split())
        assert "0 unaccounted" in text
        assert "Came in accepted 2 replayed 0 all 2" in text
        assert "Found applied 0 duplicate 0 ignored 0 dead 2 on the stream 0 waiting for a retry 0 all 2" in text
        assert "rejected shop 2" in text

    async def test_a_broken_law_is_said_in_words(self, browser: aiohttp.ClientSession, bury: Bury, rig: Rig) -> None:
        (letter,) = await bury(event("a"))
        rows = await rig.rows(f"DELETE FROM dead_letters WHERE id = '{letter}' RETURNING source, delivery_id")
        text = await page(browser, "/")
        assert "1 unaccounted" in " ".join(re.sub(r"<[^>]+>", " ", text).split())
        assert "Postgres has 1 fewer deaths than the ledger says." in text
        # The rig looks at the ledger at the end: put it back.
        await rig.rows_none(
            "INSERT INTO dead_letters (source, provider_event_id, event_type, payload, reason, delivery_id, received_at) "
            f"VALUES ('{rows[0][0]}', 'a', 'order.paid', '', 'rejected', '{rows[0][1]}', now())"
        )

    async def test_the_inbox_and_what_redis_lost_are_said(self, browser: aiohttp.ClientSession, rig: Rig) -> None:
        assert "In the inbox" not in await page(browser, "/"), "where there never was one it would only puzzle"
        upkeep = rig.upkeep(rig.worker())
        await rig.send(event("lost"))
        await upkeep.measure()
        for keys in rig.stream.keys:
            await rig.stream.client.delete(keys.events, keys.ledger, keys.epoch)
        await upkeep.measure()
        async with rig.pool.connection() as connection:
            await inbox.store(connection, [appendable(event("a"))], rows_max=10, bytes_max=1 << 20)
        text = " ".join(re.sub(r"<[^>]+>", " ", await page(browser, "/")).split())
        assert "0 unaccounted" in text
        assert "Redis was emptied on 20" in text
        assert "In the inbox 1 waiting for Redis, oldest" in text
        await upkeep.unboxer.unbox()
        text = " ".join(re.sub(r"<[^>]+>", " ", await page(browser, "/")).split())
        assert "In the inbox 0 1 moved" in text
        await rig.rows_none("UPDATE inbox_meter SET moved_total = 0")
        assert "The inbox has 1 fewer rows than were stored and not moved." in await page(browser, "/")
        await rig.rows_none("UPDATE inbox_meter SET moved_total = 1")

    async def test_nobody_at_work_is_said_when_something_waits(self, browser: aiohttp.ClientSession, rig: Rig) -> None:
        assert "No worker is there." in await page(browser, "/")
        await rig.send(event("a"))
        assert "1 delivery waits" in await page(browser, "/")
        await rig.drain()

    async def test_it_refreshes_only_when_asked(self, browser: aiohttp.ClientSession) -> None:
        assert 'http-equiv="refresh"' not in await page(browser, "/")
        assert 'http-equiv="refresh"' in await page(browser, "/?live")

    async def test_without_redis_letters_are_still_readable(
        self, own_redis: Callable[..., RedisServer], rig: Rig, bury: Bury
    ) -> None:
        (letter,) = await bury(event("a"))
        redis = own_redis()
        client = connect(redis.url, timeout_seconds=1)
        stream = Stream(client, prefix="t", shards=1, repeat_seconds=0.1)
        cookies = {SESSION: Access(TOKEN).new_session()}
        async with serving(stream, rig.pool) as address, aiohttp.ClientSession(address, cookies=cookies) as browser:
            redis.stop()
            assert "Redis does not answer" in await page(browser, "/", 503)
            await page(browser, "/letters")
            await page(browser, f"/letters/{letter}")
        await client.aclose()


class TestReadable:
    def test_json_keeps_its_spelling(self) -> None:
        raw = rb'{"a":1.10,"a":1e400,"s":"\u00e9\" , {","e":[ ],"o":{},"l":[1,[null,true]]}'
        text, left_out = readable.payload(raw)
        assert left_out == 0
        assert text == (
            '{\n  "a": 1.10,\n  "a": 1e400,\n  "s": "\\u00e9\\" , {",\n  "e": [],\n  "o": {},\n'
            '  "l": [\n    1,\n    [\n      null,\n      true\n    ]\n  ]\n}'
        )

    @pytest.mark.parametrize("raw", [b"", b"plain", b"{", b"[1,]", b"[" * 100_000, b"nul", b'"a" "b"'])
    def test_what_is_no_json_stays_as_it_is(self, raw: bytes) -> None:
        assert readable.payload(raw)[0] == raw.decode()

    def test_what_cannot_be_seen_is_made_visible(self) -> None:
        assert readable.payload(b"a\x00\xff\x1b[1m") == ("a\\x00\\xff\\x1b[1m", 0)
        assert readable.visible("a\u202eb\u200bc\r\n\td\u00a0é") == "a\\u202eb\\u200bc\\r\n\td\u00a0é"

    def test_no_payload_is_too_long_to_show(self) -> None:
        text, left_out = readable.payload(b"x" * (readable.CHARS_MAX + 7))
        assert (len(text), left_out) == (readable.CHARS_MAX, 7)
        numbers = b"[" + b"1," * readable.CHARS_MAX + b"1]"
        text, left_out = readable.payload(numbers)
        assert len(text) == readable.CHARS_MAX
        assert readable.CHARS_MAX < left_out < len(numbers)
        deep = b"[" * 900 + b"]" * 900
        assert len(readable.payload(deep)[0]) == readable.CHARS_MAX

    @pytest.mark.parametrize(
        ("milliseconds", "text"),
        [
            (None, "–"),
            (0, "0 ms"),
            (999, "999 ms"),
            (119_999, "119 s"),
            (120_000, "2 min"),
            (7_200_000, "2 h"),
            (1e9, "11 d"),
        ],
    )
    def test_durations(self, milliseconds: Any, text: str) -> None:
        assert readable.duration(milliseconds) == text

    def test_times_are_read_as_people_write_them(self) -> None:
        now = datetime(2026, 1, 31, 3, tzinfo=UTC)
        assert moment("90m", now) == now - timedelta(minutes=90)
        assert moment("2026-01-31", now) == datetime(2026, 1, 31, tzinfo=UTC)
        assert moment("2026-01-31T03:00Z", now) == now
        assert moment("2026-01-31T04:00 01:00", now) == now  # a + that became a space
        assert moment("2026-01-31 04:00", now) == now + timedelta(hours=1)
