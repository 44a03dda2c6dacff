"""`tidegate sources test` posts what no handler was written for: a test must not change a customer's numbers unasked."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from ingest.adapters import build, catalogue
from ingest.adapters.base import Adapter, Parsed, Request
from ingest.adapters.declaration import Declaration
from tests.ingest.adapters.secrets_of import secret_for
from tidegate.cli import payloads
from tidegate.cli.harmless import TEST_TYPE, retyped
from tidegate.cli.payloads import Payload

URL = "https://hooks.example.com/webhooks/source"
SIGNED = [
    name
    for name in catalogue.names()
    if secret_for(name, catalogue.declaration(name)) is not None and catalogue.declaration(name).samples
]


def is_plain(words: Declaration) -> bool:
    """Tell whether the type is one value that a request brings; else --type may have to be given."""
    kind = words.events.type
    return (
        words.code is None
        and isinstance(kind, str)
        and not any(part.startswith(("=", "query:")) for part in kind.split(" | "))
    )


def split(adapter: Adapter, payload: Payload) -> list[Parsed]:
    headers, body = adapter.sign(payload.body, url=URL, now_seconds=1e9, message_id="m", headers=payload.headers)
    given = {name.lower() for name, _ in payload.headers}
    sent = [*(pair for pair in headers if pair[0].lower() not in given), *payload.headers]
    return adapter.split(Request("POST", URL, [(name.lower(), value) for name, value in sent], body))


@pytest.mark.parametrize("name", SIGNED)
def test_the_first_sample_of_a_provider_becomes_an_event_of_no_type_of_its_own(name: str) -> None:
    words = catalogue.declaration(name)
    adapter = build(name, [secret_for(name, words) or ""])
    sample = payloads.sample(words)
    changed = retyped(words, sample, words.samples[0].type, lambda payload: split(adapter, payload))
    if changed is None:
        assert not is_plain(words), f"`sources test` of {name} asks for --type"
        return
    assert {event.event_type for event in split(adapter, changed)} == {TEST_TYPE}


def made(events: dict[str, Any], body: Any, headers: dict[str, str] | None = None, **more: Any) -> Payload | None:
    """Return what becomes of a sample of type `a` of a provider with these ``events``."""
    words = Declaration.model_validate(
        {"signature": {"kind": "token", "header": "X-Token"}, "events": {"id": "content", **events}, **more}
    )
    own = {"acme": words.model_dump(exclude_unset=True, by_alias=True)}
    adapter = build("acme", ["s"], own=own)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    payload = Payload(raw, list({"Content-Type": "application/json", **(headers or {})}.items()))
    return retyped(words, payload, "a", lambda changed: split(adapter, changed))


def body_of(payload: Payload | None) -> Any:
    assert payload is not None
    return json.loads(payload.body)


def test_the_type_is_changed_where_it_is_declared_and_nowhere_else() -> None:
    assert body_of(made({}, {"type": "a", "other": {"type": "a"}})) == {"type": TEST_TYPE, "other": {"type": "a"}}
    assert body_of(made({"type": "e.kind"}, {"e": {"kind": "a"}})) == {"e": {"kind": TEST_TYPE}}
    assert body_of(made({"type": "x | type"}, {"type": "a"})) == {"type": TEST_TYPE}
    assert body_of(made({"type": "header:X-T | type"}, {"type": "a"})) == {"type": TEST_TYPE}


def test_in_a_header_in_lists_and_in_forms() -> None:
    by_header = made({"type": "header:X-T"}, {"x": 1}, {"x-t": "a"})
    assert by_header is not None
    assert dict(by_header.headers)["x-t"] == TEST_TYPE
    assert body_of(made({"batch": "array"}, [{"type": "a"}, {"type": "b"}])) == [{"type": TEST_TYPE}] * 2
    nested = body_of(made({"items": "l.m"}, {"l": [{"m": [{"type": "a"}]}]}))
    assert nested == {"l": [{"m": [{"type": TEST_TYPE}]}]}
    whole = body_of(made({"items": "l", "type": "$.kind"}, {"kind": "a", "l": [{"type": "a"}]}))
    assert whole == {"kind": TEST_TYPE, "l": [{"type": "a"}]}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    more = {"content_types": ["application/x-www-form-urlencoded"]}
    fields = made({"body": "form", "type": "T"}, urlencode({"T": "a", "b": "ä&"}).encode(), form, **more)
    assert fields is not None
    assert fields.body.decode() == urlencode({"T": TEST_TYPE, "b": "ä&"})
    held = made({"body": "form", "form_field": "p"}, urlencode({"p": '{"type": "a"}'}).encode(), form, **more)
    assert held is not None
    assert held.body.decode() == urlencode({"p": json.dumps({"type": TEST_TYPE})})


def test_a_type_of_several_values_becomes_one() -> None:
    assert body_of(made({"type": ["noun", "verb"]}, {"noun": "a", "verb": "b"})) == {"noun": "tidegate", "verb": "test"}
    assert body_of(made({"type": ["type", "action?"]}, {"type": "a", "action": "b"})) == {"type": TEST_TYPE}


@pytest.mark.parametrize(
    ("events", "body"),
    [
        ({"type": "=fixed"}, {"x": 1}),
        ({"type": ["noun", "verb"], "type_separator": "/"}, {"noun": "a", "verb": "b"}),
        ({"type": ["a", "b", "c"]}, {"a": "a", "b": "a", "c": "a"}),
        ({"type": "query:type"}, {"type": "b"}),
        ({"type": ["kind", "=fixed"]}, {"kind": "a"}),
    ],
)
def test_what_would_still_be_an_event_of_the_providers_is_none(events: dict[str, Any], body: Any) -> None:
    assert made(events, body) is None
