"""Forms: what is signed are bytes, and nobody may choose in which of two ways they are read."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from ingest.adapters import build
from ingest.adapters.base import RefusedError
from tests.ingest.adapters.requests import refusal, signed, with_header

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("github", "&payload=" + quote('{"action":"deleted"}') + "&"),
        ("slack", "&command=/deploy&trigger_id=9&"),
    ],
)
@pytest.mark.parametrize("content_type", [FORM, FORM.upper(), f"{FORM}; charset=utf-8"])
def test_what_somebody_writes_into_signed_json_is_no_event_under_another_content_type(
    provider: str, said: str, content_type: str
) -> None:
    """Who has seen a request could else send it again as a form, with fields that a stranger wrote into an issue."""
    adapter = build(provider, ["secret"])
    body = json.dumps({"event_id": "1", "type": "event_callback", "text": said}).encode()
    captured = with_header(signed(adapter, body), "X-GitHub-Delivery", "another")
    turned = with_header(captured, "Content-Type", content_type)
    assert refusal(adapter, turned) is None  # the type is not signed
    with pytest.raises(RefusedError, match="JSON, and the Content-Type says"):
        adapter.split(turned)
