"""Requests for the adapter tests: made, signed by the adapter itself, or hostile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar, get_args
from uuid import UUID

from hypothesis import strategies as st

from ingest.adapters.base import Adapter, Parsed, RefusalReason, RefusedError, Request
from tidegate import jsontext
from tidegate.event import Delivery, Event
from tidegate.wire import encode_meta, parse

_T = TypeVar("_T")

URL = "https://hooks.example.com/webhooks/source"
NOW = 1_789_000_000.0
SCHEMES = {
    *("none", "unknown", "v1", "v2", "v3", "v1a", "v1,v1a", "token", "basic", "ecdsa-p256", "ed25519"),
    *(f"v3+{older}" for older in ("v1", "v2", "unknown")),
    *(f"{kind}-{name}" for kind in ("hmac", "hash") for name in ("md5", "sha1", "sha256", "sha512")),
    *("body secret", "body signature", "bearer", "access_token", "bearer+access_token"),
}
"""All that an adapter may say of the signatures a request bears."""


def request(
    body: bytes = b"", headers: Iterable[tuple[str, str]] = (), *, method: str = "POST", url: str = URL
) -> Request:
    return Request(method, url, [(name.lower(), value) for name, value in headers], body)


def signed(adapter: Adapter, body: bytes, *, url: str = URL, now: float = NOW, message_id: str = "msg_1") -> Request:
    headers, sent = adapter.sign(body, url=url, now_seconds=now, message_id=message_id)
    return request(sent, headers, url=url)


def with_header(original: Request, name: str, value: str | None) -> Request:
    """Return ``original`` with the header replaced, or without it."""
    kept = [pair for pair in original.headers if pair[0] != name.lower()]
    return replace(original, headers=kept if value is None else [*kept, (name.lower(), value)])


def refusal(adapter: Adapter, checked: Request, now: float = NOW) -> str | None:
    """Return the reason why ``adapter`` refuses the request, None when it verifies."""
    try:
        adapter.verify(checked, now)
    except RefusedError as error:
        return error.reason
    return None


def only_refuses(adapter: Adapter, checked: Request, now: float = NOW, *, secret: str | None = None) -> None:
    """Assert that neither verify, greeting nor split raises anything but RefusedError, and that split gives what can be
    stored.

    What only looks at the request raises nothing, and says nothing of the client's. No refusal tells the ``secret``.
    """
    _or_refused(lambda: adapter.verify(checked, now), secret)
    assert adapter.scheme(checked) in SCHEMES
    behind = adapter.clock_difference(checked, now)
    assert behind is None or math.isfinite(behind)
    reply = _or_refused(lambda: adapter.greeting(checked, now), secret)
    if reply is not None:
        assert 200 <= reply.status < 300
        assert all((name + value).isascii() and (name + value).isprintable() for name, value in reply.headers)
    for event in _or_refused(lambda: adapter.split(checked), secret) or []:
        _can_be_stored(event, adapter.provider)


def _or_refused(call: Callable[[], _T], secret: str | None) -> _T | None:
    refused = None
    try:
        return call()
    except RefusedError as error:
        refused = error
    said = str(refused)
    assert refused.reason in get_args(RefusalReason)
    assert len(said) < 300
    assert said.isprintable()
    assert refused.__cause__ is None, "no traceback may show the request"
    assert secret is None or secret not in said
    return None


def _can_be_stored(parsed: Parsed, provider: str) -> None:
    for text in (parsed.provider_event_id, parsed.event_type, parsed.key):
        assert len(text) <= 200
        assert "\x00" not in text
        text.encode()
    assert parsed.provider_event_id
    assert parsed.event_type or parsed.malformed
    assert parsed.occurred_at_ms is None or 0 <= parsed.occurred_at_ms < 253_402_300_800_000
    jsontext.loads(parsed.payload)
    event = Event(
        source="source",
        provider=provider,
        provider_event_id=parsed.provider_event_id,
        event_type=parsed.event_type,
        occurred_at_ms=parsed.occurred_at_ms or 0,
        received_at_ms=int(NOW * 1000),
        key=parsed.key,
        payload=parsed.payload,
        delivery_id=UUID(int=7),
        headers={},
    )
    delivery = Delivery(event, malformed=parsed.malformed)
    assert parse(b"source", event.provider_event_id.encode(), encode_meta(delivery), event.payload) == delivery


any_text = st.text(alphabet=st.characters(exclude_categories=()), max_size=40)
header_text = (
    any_text
    | st.sampled_from(
        ["", "NaN", "1e9", "-1", "+1789000000", "1_789", "１７８９０００", "9" * 400, "v1,", "v1a,AAAA", "v1"]
    )
    | st.integers(0, 2_000_000_000_000).map(str)
)
_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**250, max_value=10**260)
    | st.floats()
    | any_text
    | st.sampled_from(["\x00", "\ud800", "2026-08-10T00:41:42.035Z", "9999-12-31T23:59:59-14:00", "x" * 500])
)


def json_values(names: Iterable[str]) -> st.SearchStrategy[object]:
    """Return JSON values whose objects use ``names``, so that every field of a provider gets every type."""
    objects = st.dictionaries(st.sampled_from(sorted(names)), _leaves | st.dictionaries(any_text, _leaves, max_size=2))
    return objects | st.lists(objects | _leaves, max_size=4) | _leaves
