"""What was refused is seen by the operator: all of it that matters, none of it that is secret, at no cost to the gate."""

from __future__ import annotations

import asyncio
import gc
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, replace
from typing import Any, cast, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import noted, rejects
from ingest.adapters import build
from ingest.adapters.base import Adapter, RefusedError, Request
from ingest.diagnosis import BODY_BYTES_MAX, difference
from ingest.noted import REASONS, GateReason, Note
from ingest.rejects import Rejects
from tests.fixtures import until
from tests.ingest.adapters.requests import NOW, request, signed
from tidegate.embedded import RedisServer
from tidegate.stream import Client, Rejected, RejectedLog, connect
from tidegate.telemetry import metrics

SECRETS = {
    "hubspot-eu": "app/secret+with odd=chars",
    "hubspot-us": "b2xkIG9sZCBvbGQgb2xk",
    "crm": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "lemlist": "wörd of ours",
}
ADAPTERS = {
    name: build({"crm": "svix", "lemlist": "lemlist"}.get(name, "hubspot"), [secret])
    for name, secret in SECRETS.items()
}
URL = "http://gate/webhooks/hubspot-eu"
BODY_MARK = "BODYTEXTthatnobodymayread"


@pytest.fixture(autouse=True)
def declared() -> Iterator[None]:
    before = metrics.sources()
    metrics.declare_sources(ADAPTERS)
    yield
    metrics.declare_sources(before)


@pytest.fixture
def log(client: Client, prefix: str) -> RejectedLog:
    return RejectedLog(client, prefix=prefix)


async def recorded(log: RejectedLog) -> list[Rejected]:
    return [record for _, record in await log.newest(10_000)]


def refused(kept: Rejects, source: str, seen: Request, **changed: Any) -> None:
    """Let the adapter of ``source`` refuse ``seen``, and note that as the gate does."""
    adapter = ADAPTERS[source]
    with pytest.raises(RefusedError) as caught:
        adapter.verify(seen, NOW)
    error = caught.value
    told: dict[str, Any] = {
        "source": source,
        "status": 401,
        "reason": error.reason,
        "detail": error.detail,
        "adapter": adapter,
        "request": seen,
        "clock_seconds": error.clock_seconds,
        "now_seconds": NOW,
    }
    kept.note(**told | changed)


def simple(kept: Rejects, reason: str = "method", source: str = "crm", **changed: Any) -> None:
    told: dict[str, Any] = {"source": source, "status": 405, "reason": reason, "now_seconds": NOW}
    kept.note(**told | changed)


@asynccontextmanager
async def running(kept: Rejects) -> AsyncIterator[None]:
    task = asyncio.create_task(kept.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_the_operator_sees_who_was_refused_why_and_what_to_do(log: RejectedLog) -> None:
    kept = Rejects(log, maxlen=100, adapters=ADAPTERS)
    seen = replace(signed(ADAPTERS["hubspot-eu"], b'[{"a":1}]', url=URL.replace("http", "https")), url=URL)
    refused(
        kept, "hubspot-eu", seen,
        address="203.0.113.9", request_id="r-1", content_type="application/json; charset=utf-8", user_agent="HubSpot",
    )  # fmt: skip
    refused(kept, "crm", signed(ADAPTERS["crm"], b"{}", now=NOW - 720))
    refused(kept, "crm", request(b"{}"))
    simple(kept, "unknown_source", "wp-login.php?a=b c", status=404)
    async with running(kept):
        await until(lambda: recorded(log))
    url, clock, missing, unknown = await recorded(log)
    assert asdict(url) | {"id": ""} == {
        "id": "", "at_ms": int(NOW * 1000), "source": "hubspot-eu", "provider": "hubspot", "status": 401,
        "reason": "bad_signature", "detail": "good for https:// instead of http://: set public_url to "
        "https://gate/webhooks/hubspot-eu", "scheme": "v3+v1", "clock_seconds": 0.0, "bytes": 9,
        "content_type": "application/json", "address": "203.0.113.9", "request_id": "r-1", "user_agent": "HubSpot",
        "suppressed": 0,
    }  # fmt: skip
    assert (clock.reason, clock.clock_seconds, clock.scheme) == ("stale", 720, "v1")
    assert clock.detail.startswith("good but for the clock: signed 720 s ago, 300 s are allowed: check the clock")
    assert (missing.reason, missing.scheme, missing.clock_seconds) == ("missing_header", "none", None)
    assert (unknown.source, unknown.status, unknown.provider) == ("wp-login.php?a?b?c", 404, "")
    assert "[sources.NAME]" in unknown.detail


@pytest.mark.parametrize("reason", get_args(GateReason))
async def test_every_reason_of_the_gate_says_what_to_do(log: RejectedLog, reason: str) -> None:
    kept = Rejects(log, maxlen=100)
    simple(kept, reason)
    await kept.flush()
    (record,) = await recorded(log)
    assert len(record.detail) > 20


async def test_a_clock_that_is_off_is_told_beside_a_bad_signature(log: RejectedLog) -> None:
    kept = Rejects(log, maxlen=100, adapters=ADAPTERS)
    refused(kept, "crm", replace(signed(ADAPTERS["crm"], b"{}", now=NOW - 250), body=b"forged"))
    await kept.flush()
    (record,) = await recorded(log)
    assert (record.reason, record.clock_seconds) == ("bad_signature", 250)
    assert "another secret, or the body was changed" in record.detail


async def test_a_flood_of_one_kind_leaves_the_others_in_place_and_is_counted(
    log: RejectedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Rejects(log, maxlen=200, adapters=ADAPTERS)
    simple(kept, "too_large")
    forged = replace(signed(ADAPTERS["crm"], b"{}"), body=b"forged")
    for _ in range(3000):
        refused(kept, "crm", forged)
    for number in range(3000):
        simple(kept, "unknown_source", f"nobody-{number}")
    simple(kept, "depth")
    await kept.flush()
    counts = Counter(record.reason for record in await recorded(log))
    assert counts == {
        "too_large": 1, "bad_signature": rejects.KIND_BURST, "unknown_source": rejects.KIND_BURST, "depth": 1,
    }  # fmt: skip


async def test_after_a_flood_its_last_request_is_shown_with_how_many_there_were(
    log: RejectedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejects, "KIND_BURST", 3)
    monkeypatch.setattr(rejects, "KIND_SECONDS", 1.5)
    kept = Rejects(log, maxlen=200, adapters=ADAPTERS)
    for number in range(1000):
        simple(kept, request_id=str(number))

    async def all_accounted_for() -> bool:
        await kept.flush()
        found = await recorded(log)
        return len(found) + sum(record.suppressed for record in found) == 1000

    await until(all_accounted_for)
    *first, last = await recorded(log)
    assert [record.request_id for record in first] == ["0", "1", "2"]
    assert (last.request_id, last.suppressed) == ("999", 996)


async def test_forged_requests_are_not_held_and_few_are_looked_into(
    log: RejectedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bodies() -> int:
        gc.collect()
        return sum(type(one) is Request and len(one.body) > 50_000 for one in gc.get_objects())

    monkeypatch.setattr(rejects, "DIAGNOSES_SECONDS", 1e9)
    kept = Rejects(log, maxlen=200, adapters=ADAPTERS)
    for source in ("crm", "hubspot-eu", "hubspot-us"):
        good = signed(ADAPTERS[source], b"{}")
        for _ in range(50):
            refused(kept, source, replace(good, body=bytes(60_000)))
    for _ in range(50):
        refused(kept, "lemlist", request(b'{"secret":"x"}' + b" " * BODY_BYTES_MAX))
    assert 0 < bodies() <= rejects.DIAGNOSES_BURST
    await kept.flush()
    assert bodies() == 0


class TestRedisAway:
    async def test_nothing_raises_the_newest_wait_and_every_kind_has_its_share(
        self, own_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rejects, "KIND_BURST", 100)
        monkeypatch.setattr(rejects, "AWAY_SECONDS_MAX", 0.5)
        server = own_redis()
        async with connect(server.url, timeout_seconds=1) as client:
            log = RejectedLog(client, prefix="t", call_seconds=2)
            kept = Rejects(log, maxlen=5000, adapters=ADAPTERS)
            server.kill()
            kinds = [(source, reason) for source in ("crm", "lemlist") for reason in REASONS]
            async with running(kept):
                simple(kept, "depth", request_id="first")
                await until(lambda: failed_before(kept))
                for number in range(60):
                    for source, reason in kinds:
                        simple(kept, reason, source, request_id=str(number))
                await kept.flush()
                await asyncio.to_thread(server.start)
                await until(lambda: recorded(log))
                simple(kept, "depth", "hubspot-eu", request_id="later")
                await until(lambda: has(log, "later"))
                for source, reason in kinds:
                    simple(kept, reason, source, request_id="end")
                await until(lambda: ends(log, len(kinds)))
            found = await recorded(log)
            waited = [record for record in found if record.request_id not in ("later", "end")]
            assert len(waited) == rejects.QUEUE_MAX
            for source, reason in kinds:
                numbers = [record.request_id for record in waited if (record.source, record.reason) == (source, reason)]
                assert numbers == [str(number) for number in range(60 - len(numbers), 60)]
                assert len(numbers) >= 10
            assert sum(1 + record.suppressed for record in found) == 1 + 60 * len(kinds) + 1 + len(kinds)

    async def test_a_flush_at_the_end_of_a_process_ends_too(self, own_redis: Callable[..., RedisServer]) -> None:
        server = own_redis()
        async with connect(server.url, timeout_seconds=0.2) as client:
            kept = Rejects(RejectedLog(client, prefix="t", call_seconds=0.4), maxlen=10)
            server.kill()
            simple(kept)
            await kept.flush()


async def failed_before(kept: Rejects) -> bool:
    return kept.away


async def has(log: RejectedLog, request_id: str) -> bool:
    return any(record.request_id == request_id for record in await recorded(log))


async def ends(log: RejectedLog, count: int) -> bool:
    return sum(record.request_id == "end" for record in await recorded(log)) == count


async def test_a_key_that_somebody_else_uses_harms_nobody(log: RejectedLog, client: Client, prefix: str) -> None:
    kept = Rejects(log, maxlen=10)
    await client.set(f"{prefix}:rejected", "x")
    simple(kept)
    await kept.flush()
    await client.delete(f"{prefix}:rejected")
    await kept.flush()
    assert len(await recorded(log)) == 1


async def test_with_none_to_keep_nothing_is_written_and_all_is_counted(
    log: RejectedLog, client: Client, prefix: str
) -> None:
    def count() -> float:
        return float(metrics.REJECTED.labels("crm", "method")._value.get())

    kept, before = Rejects(log, maxlen=0), count()
    simple(kept)
    await kept.flush()
    assert await client.exists(f"{prefix}:rejected") == 0
    assert count() == before + 1


async def test_no_client_makes_a_time_series(log: RejectedLog) -> None:
    def series() -> set[tuple[str, ...]]:
        return {tuple(sample.labels.values()) for one in metrics.REJECTED.collect() for sample in one.samples}

    before = series()  # other tests have other sources
    kept = Rejects(log, maxlen=100)
    for number in range(50):
        simple(kept, cast(Any, f"reason-{number}"), f"source-{number}")
    assert series() - before <= {(source, reason) for source in (*ADAPTERS, "other") for reason in (*REASONS, "other")}


async def test_a_mistake_of_ours_costs_a_record_and_no_request(log: RejectedLog) -> None:
    kept = Rejects(log, maxlen=100, adapters=ADAPTERS)
    broken = cast(Adapter, object())
    simple(kept, adapter=broken, request=request())
    good = replace(signed(ADAPTERS["crm"], b"{}"), body=b"forged")
    refused(kept, "crm", good, request=replace(good, url=cast(str, None)))
    refused(kept, "crm", good)
    async with running(kept):
        await until(lambda: recorded(log))
    assert {record.reason for record in await recorded(log)} == {"bad_signature"}


SIGNATURE = signed(ADAPTERS["crm"], b"{}").headers[-1][1]
COOKIE = "session=0123456789abcdef"
_pieces = st.sampled_from(
    [
        *(spelled for secret in SECRETS.values() for spelled in (secret, secret.lower(), secret[:12], secret[12:])),
        SECRETS["lemlist"].encode().decode("latin-1"),
        *(
            SIGNATURE,
            SIGNATURE[3:],
            COOKIE,
            "0123456789abcdef",
            "hunter2",
            "/",
            "?token=",
            "&a=",
            " ",
            "\x00",
            "\x1b[2J",
        ),
        *("ada@example.com", "https://u:hunter2@h/", "é", "\ud800", "x" * 300, ""),
    ]
)
_hostile = st.lists(_pieces, max_size=6).map("".join)
_headers = st.lists(
    st.tuples(
        st.sampled_from(
            ["user-agent", "x-request-id", "content-type", "host", "x-forwarded-host", "svix-id", "x-api-key"]
        ),
        _hostile,
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=150)  # a busy machine is no failure
@given(
    st.sampled_from(sorted(ADAPTERS)),
    _headers,
    st.dictionaries(
        st.sampled_from(["source", "address", "request_id", "content_type", "user_agent"]), _hostile, max_size=5
    ),
    _hostile,
    st.integers(0, 1000),
)
def test_no_secret_signature_or_body_reaches_the_record(
    name: str, headers: list[tuple[str, str]], texts: dict[str, str], path: str, off: int
) -> None:
    adapter = ADAPTERS[name]
    body = json.dumps({"_id": BODY_MARK, "secret": SECRETS[name], SECRETS[name]: BODY_MARK}).encode()
    known = signed(adapter, b"{}", now=NOW - off)
    extra = [("cookie", COOKIE), ("svix-signature", SIGNATURE), ("authorization", "Basic hunter2hunter2"), *headers]
    for seen in (
        replace(known, headers=[*known.headers, *extra], body=body, url=f"http://h/{path}"),
        replace(known, url=f"https://h/{path}", headers=[*known.headers, *headers]),
        request(body, extra, url=path),
    ):
        try:
            adapter.verify(seen, NOW)
            reason, detail = "depth", ""
        except RefusedError as error:
            reason, detail = error.reason, difference(adapter, seen, NOW, others=ADAPTERS) or error.detail
        made = noted.record(
            Note(
                **{
                    "at_seconds": NOW, "source": name, "status": 401, "reason": reason, "detail": detail,
                    "adapter": adapter, "request": seen, "scheme": adapter.scheme(seen), "body_bytes": len(body),
                    "clock_seconds": adapter.clock_difference(seen, NOW), "address": "", "request_id": "",
                    "content_type": "", "user_agent": "",
                }
                | cast(Any, texts)
            ),
            ADAPTERS,
        )  # fmt: skip
        shown = json.dumps(asdict(made), ensure_ascii=False)
        borne = {value for header, value in seen.headers if header == "cookie" or "signature" in header}
        borne |= {SIGNATURE[3:]} if SIGNATURE in borne else set()
        for hidden in (*SECRETS.values(), BODY_MARK, *(value for value in borne if len(value) > 2)):
            assert hidden.lower() not in shown.lower()
        assert len(shown) < 2000
        shown.encode()


def test_signatures_of_any_number_are_masked_and_nothing_of_them_is_kept_in_the_process() -> None:
    """A pattern made of what clients send would be compiled for each, and cached: tens of milliseconds, and megabytes."""
    words = [f"{number:08x}" for number in range(1700)]
    seen = Request("POST", URL, [("x-extra-signature", ",".join(words))], b"{}")
    shown = noted.record(
        Note(
            at_seconds=NOW,
            source="crm",
            status=401,
            reason="bad_signature",
            detail="",
            adapter=ADAPTERS["crm"],
            request=seen,
            scheme="none",
            body_bytes=2,
            clock_seconds=None,
            address="127.0.0.1",
            request_id="",
            content_type="",
            user_agent=f"says {words[7].upper()} and {words[1699]}, plainly",
        ),
        ADAPTERS,
    )
    assert shown.user_agent == "says *** and ***, plainly"
    assert not [pattern for pattern in re._cache if words[7] in str(pattern)]  # type: ignore[attr-defined]
