"""Requests for the adapter tests: made, signed by the adapter itself, or hostile."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from hypothesis import strategies as st

from ingest.adapters.base import Adapter, RefusedError, Request

URL = "https://hooks.example.com/webhooks/source"
NOW = 1_789_000_000.0
SCHEMES = {
    *("none", "unknown", "v1", "v2", "v3", "v1a", "v1,v1a", "body secret", "body signature", "token"),
    *("hmac-sha1", "hmac-sha256"),
    *(f"v3+{older}" for older in ("v1", "v2", "unknown")),
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


def only_refuses(adapter: Adapter, checked: Request, now: float = NOW) -> None:
    """Assert that neither verify nor split raises anything but RefusedError, and that split gives what can be stored.

    What only looks at the request raises nothing, and says nothing of the client's.
    """
    refusal(adapter, checked, now)
    assert adapter.scheme(checked) in SCHEMES
    behind = adapter.clock_difference(checked, now)
    assert behind is None or math.isfinite(behind)
    try:
        events = adapter.split(checked)
    except RefusedError:
        return
    for event in events:
        for text in (event.provider_event_id, event.event_type, event.key):
            assert len(text) <= 200
            assert "\x00" not in text
            text.encode()
        assert event.provider_event_id
        assert event.event_type or event.malformed
        assert event.occurred_at_ms is None or 0 <= event.occurred_at_ms < 253_402_300_800_000


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
