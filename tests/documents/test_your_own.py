"""What `docs/providers/your-own.md` shows works: its providers take what they say they take."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ingest import service
from ingest.adapters import build, capture, catalogue
from ingest.adapters.base import Adapter, Parsed, RefusedError, Request
from ingest.adapters.samples import sample
from ingest.source import Source
from tests.documents.files import YOUR_OWN
from tidegate.settings import load

NOW = 1_795_514_400.0
URL = "https://hooks.example.com/webhooks/"
SECRET = "YWNtZS1leGFtcGxlLXNlY3JldA=="
TOML = re.findall(r"^```toml\n(.*?)^```", YOUR_OWN.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
TEN_LINES, SENSORS, INITECH, OPTIONS = TOML


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Source]:
    """All sources of the page, as the gate builds them from one settings file."""
    for name in re.findall(r"env:(\w+)", "".join(TOML)):
        monkeypatch.setenv(name, SECRET)
    path = tmp_path / "tidegate.toml"
    path.write_text("\n".join(TOML), encoding="utf-8")
    return dict(service.sources(load(path)))


def own(text: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(text)["providers"]
    return found


def sent(adapter: Adapter, text: str, *, now: float = NOW) -> Request:
    """Return the first sample of the provider declared in ``text``, signed."""
    ((name, raw),) = own(text).items()
    filled = sample(catalogue.read(name, raw), now_seconds=now)
    headers, body = adapter.sign(filled.body, url=URL, now_seconds=now, message_id="m", headers=filled.headers)
    return Request("POST", URL, [(name.lower(), value) for name, value in headers], body)


def taken(adapter: Adapter, request: Request) -> Parsed:
    assert adapter.greeting(request, NOW) is None
    assert adapter.verify(request, NOW) == 0
    (event,) = adapter.split(request)
    assert event.malformed is None
    return event


def test_ten_lines_are_ten() -> None:
    assert len(TEN_LINES.splitlines()) == 10


def test_the_provider_in_ten_lines_takes_what_is_signed_so_and_nothing_else(sources: dict[str, Source]) -> None:
    adapter = sources["shop"].adapter
    request = sent(adapter, TEN_LINES)
    event = taken(adapter, request)
    assert (event.event_type, event.occurred_at_ms) == ("order.paid", int(NOW * 1000))
    assert event.provider_event_id.startswith("evt_")
    assert event.key.startswith("order:")

    # By the page's own words: time, full stop and body; hexadecimal, after sha256=.
    made = hmac.new(SECRET.encode(), f"{int(NOW)}.".encode() + request.body, hashlib.sha256).hexdigest()
    assert ("x-acme-signature", f"sha256={made}") in request.headers
    for changed, reason in (
        (Request("POST", URL, request.headers, request.body + b" "), "bad_signature"),
        (Request("POST", URL, request.headers[:-1], request.body), "missing_header"),
        (sent(adapter, TEN_LINES, now=NOW - 301), "stale"),
        (sent(adapter, TEN_LINES, now=NOW + 301), "future"),
    ):
        with pytest.raises(RefusedError) as refused:
            adapter.verify(changed, NOW)
        assert refused.value.reason == reason


def test_the_captured_line_is_authentic_under_the_secret_it_names() -> None:
    ((line,),) = [re.findall(r"^```json\n(.*?)\n```", YOUR_OWN.read_text(encoding="utf-8"), re.MULTILINE)]
    secret = "acme-example-secret"
    assert f"`ACME_SECRET` is `{secret}`" in YOUR_OWN.read_text(encoding="utf-8")
    right, wrong = (build("acme", [text], own=own(TEN_LINES)) for text in (secret, "another-secret"))
    assert capture.check(json.loads(line), default_adapter=right, default_now=0).valid
    assert not capture.check(json.loads(line), default_adapter=wrong, default_now=0).valid


def test_the_sensors_send_several_events_and_are_answered_as_they_want(sources: dict[str, Source]) -> None:
    adapter = sources["plant"].adapter
    event = taken(adapter, sent(adapter, SENSORS))
    assert event.event_type == "reading"
    assert re.fullmatch(r"d-\w+:1", event.provider_event_id)
    assert event.key.startswith("device:d-")
    assert event.occurred_at_ms == int(NOW * 1000)
    assert adapter.success is not None
    assert (adapter.success.status, adapter.success.body) == (200, b"OK")


def test_initech_is_verified_and_greeted_both_ways(sources: dict[str, Source]) -> None:
    adapter = sources["reports"].adapter
    assert taken(adapter, sent(adapter, INITECH)).event_type == "report.created"
    assert taken(adapter, sent(adapter, INITECH, now=NOW - 86_000)).event_type == "report.created"

    headers, body = adapter.sign(b'{"type": "challenge", "challenge": "c1"}', url=URL, now_seconds=NOW, message_id="m")
    posted = Request("POST", URL, [(name.lower(), value) for name, value in headers], body)
    answered = adapter.greeting(posted, NOW)
    assert answered is not None
    proof = hmac.new(SECRET.encode(), b"c1", hashlib.sha256).hexdigest()
    assert json.loads(answered.body) == {"challenge": "c1", "proof": proof}

    asked = Request("GET", f"{URL}?mode=subscribe&verify_token={SECRET}&challenge=c2", [], b"")
    got = adapter.greeting(asked, NOW)
    assert got is not None
    assert (got.status, got.body) == (200, b"c2")
    with pytest.raises(RefusedError):
        adapter.greeting(Request("GET", f"{URL}?mode=subscribe&verify_token=x&challenge=c2", [], b""), NOW)


def test_options_say_a_word_otherwise(sources: dict[str, Source]) -> None:
    adapter = sources["old-shopify-app"].adapter
    headers, body = adapter.sign(b'{"id": 1}', url=URL, now_seconds=NOW, message_id="m")
    event = taken(adapter, Request("POST", URL, [(name.lower(), value) for name, value in headers], body))
    assert event.key == "shop:shop.example.com"
    assert adapter.success is None
