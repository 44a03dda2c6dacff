"""Every provider there is, whatever it is sent: a request is refused or brings events that can be stored, nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.adapters import PROVIDERS, catalogue
from ingest.adapters.base import Request
from tests.ingest.adapters.requests import NOW, URL, any_text, header_text, json_values, only_refuses, refusal
from tests.ingest.adapters.seeds import asking, known, resigned

EXAMPLES = 20
quickly = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

ODD_BODIES = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "an object": b"{}",
    "lists in a list": b"[[[[]]]]",
    "no JSON": b"{",
    "two texts": b"{} {}",
    "NaN": b'{"id": NaN}',
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep and open": b'{"a":' * 50_000,
    "a long list": b"[" + b"1," * 20_000 + b"1]",
    "a list of objects": b"[" + b"{}," * 200 + b"{}]",
    "a huge integer": b'{"id": ' + b"9" * 5000 + b"}",
    "a huge exponent": b'{"id": 1e999, "timestamp": 1e400}',
    "not UTF-8": b'{"id": "\xff\xfe"}',
    "an overlong NUL": b'{"id": "\xc0\x80"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a NUL": b'{"id": "a\\u0000b", "type": "\\u0000"}',
    "a lone surrogate": b'{"id": "\\ud800", "type": "\\udfff"}',
    "members twice": b'{"id": "1", "id": "2", "type": "a", "type": {"b": 1}, "secret": "1", "secret": "2"}',
    "a form": b"payload=%7B%22id%22%3A1%7D&a=1&a=2",
    "a form with broken escapes": b"payload=%7&a=%zz&%=&=&&;",
    "a form that is not UTF-8": b"payload=%ff%fe&a=\xff",
    "a form of too many fields": b"a=1&" * 5000,
    "a form of JSON in no field": b"payload={&payload={",
    "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
}
ODD_TIMES = (
    "",
    "x",
    "1.5",
    "1789000000.0",
    "-1",
    "+1",
    "1_7",
    "\u00b2",
    "\x00",
    "9" * 400,
    "1e9",
    "NaN",
    "0x10",
    "2026-13-01",
)
ODD_SIGNATURES = (
    *(
        "t=1,v1=",
        ",".join(["t=1"] * 20),
        "v1=" * 2000,
        "=" * 5,
        "sha256=",
        "\xff" * 40,
        "Basic =",
        "Basic /w==",
        "Bearer ",
        "v1a,A",
    ),
    *(f"v1,{'A' * 43}=", f"v1a,{'A' * 86}==", "v1a,\xe9", "v1a,A", "," * 400, "00" * 64, "A" * 88),
)
ODD_URLS = (
    "", "//", "http://[", "https://a:b@c:d/%", f"{URL}?", f"{URL}?a=%ff&a=%00", f"{URL}?{'a&' * 2000}", "\x00", "\u00ff",
    f"{URL}?hub.challenge=1&hub.mode=subscribe&hub.verify_token=x", f"{URL}#f?g", "https://hooks.example.com:99999/",
    f"{URL}?bodySHA256=00", f"{URL}?access_token=&access_token=", f"{URL}?token=%F0%9F",
)  # fmt: skip


ODD_VALUES: Sequence[object] = (
    None, True, 0, -1, 10**400, 1.5, 1e300, float("-1e-300"), "", "x", "x" * 5000, "\x00", "\ud800", "a\r\nX: y", "\u00e9", "1.5",
    "9" * 400, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", [], {}, [[]], [None, {}], [{"id": []}], {"": {"id": 1}},
)  # fmt: skip


def holds(provider: str, checked: Request, now: float = NOW) -> None:
    """Assert that each thing the gate asks of the adapter ends in an answer or a refusal."""
    only_refuses(known(provider).adapter, checked, now, secret=known(provider).secret)


# ---- What every provider must be able to do


@pytest.mark.parametrize("provider", PROVIDERS)
def test_its_own_samples_are_authentic_events_that_differ(provider: str) -> None:
    """Whoever tries a new source with `tidegate send` must not be sent looking for a fault of ours."""
    found = known(provider)
    ids = []
    for event in found.events:
        assert refusal(found.adapter, event) is None
        assert found.adapter.greeting(event, NOW) is None
        (parsed, *more) = found.adapter.split(event)
        assert all(one.malformed is None for one in (parsed, *more))
        assert parsed.event_type not in ("", "unknown")
        ids.append(parsed.provider_event_id)
        again = found.adapter.split(event)
        assert again[0] == parsed
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if catalogue.declaration(name).handshakes])
def test_its_handshakes_are_answered_and_bring_nothing(provider: str) -> None:
    found = known(provider)
    for asked in found.handshakes:
        reply = found.adapter.greeting(asked, NOW)
        assert reply is not None
        assert 200 <= reply.status < 300


@pytest.mark.parametrize("provider", PROVIDERS)
def test_nothing_without_a_proof_is_authentic(provider: str) -> None:
    for body in (*known(provider).unsigned, b""):
        assert refusal(known(provider).adapter, Request("POST", URL, [], body))


# ---- What is known to be odd


@pytest.mark.parametrize("name", ODD_BODIES)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_odd_bodies_are_refused_or_stored_whether_signed_or_not(provider: str, name: str) -> None:
    body = ODD_BODIES[name]
    form = ("content-type", "application/x-www-form-urlencoded")
    for event in known(provider).events[:2]:
        changed = replace(event, body=body)
        holds(provider, changed)
        holds(provider, replace(changed, headers=[*(p for p in event.headers if p[0] != "content-type"), form]))
        signed = resigned(provider, body, unsigned_headers(provider, event))
        if signed is not None:
            holds(provider, signed)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_each_member_may_be_anything(provider: str) -> None:
    """Signed anew each time: an authentic body of another shape must not fail where its members are taken out."""
    for event in known(provider).events[:3]:
        headers = unsigned_headers(provider, event)
        for body in with_each_member_odd(event.body):
            holds(provider, resigned(provider, body, headers) or replace(event, body=body))


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if catalogue.declaration(name).handshakes])
def test_a_handshake_may_ask_for_anything(provider: str) -> None:
    for value in ODD_VALUES:
        for asked in asking(provider, value):
            holds(provider, asked)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_odd_urls_and_header_values_are_refused(provider: str) -> None:
    for event in (*known(provider).events[:2], *known(provider).handshakes):
        for url in ODD_URLS:
            holds(provider, replace(event, url=url))
        for name in known(provider).header_names:
            for value in (*ODD_TIMES, *ODD_SIGNATURES, *spoiled(event, name)):
                holds(provider, with_header(event, name, [value]))
            holds(provider, with_header(event, name, []))
            holds(provider, with_header(event, name, [*event.values(name), *event.values(name)] or ["a", "b"]))


def with_each_member_odd(body: bytes) -> Iterator[bytes]:
    """Give ``body`` with each of ODD_VALUES in the place of each of its members and elements, and of itself."""
    try:
        value = json.loads(body)
    except ValueError:  # a form
        for name, _ in parse_qsl(body.decode()):
            for odd in ("", "%00", "%ff", "%", "x" * 5000, "{", "[]", "null", "1e999"):
                yield re.sub(
                    rb"(^|&)%s=[^&]*" % re.escape(name.encode()), rb"\g<1>%s=%s" % (name.encode(), odd.encode()), body
                )
        return
    yield from (json.dumps(odd).encode() for odd in ODD_VALUES)
    for holder, at in list(_places(value)):
        held = holder[at]
        for value_of in ODD_VALUES:
            holder[at] = value_of
            yield json.dumps(value).encode()
        holder[at] = held
        if isinstance(holder, dict):
            del holder[at]
            yield json.dumps(value).encode()
            holder[at] = held


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for at in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, at
        yield from _places(value[at])


def unsigned_headers(provider: str, event: Request) -> list[tuple[str, str]]:
    """Return the headers that an event has beside those of its signature."""
    said = catalogue.declaration(provider).samples
    names = {"content-type", *(name.lower() for found in said for name in found.headers)}
    return [pair for pair in event.headers if pair[0] in names]


def spoiled(event: Request, name: str) -> list[str]:
    """Return the header's values as they nearly were."""
    found: list[str] = []
    for value in event.values(name):
        found += [value[:-1], value[:-2], f"{value[:-3]}*==", f"{value}=", f"{value}\xff", value.upper()]
        found += [f"{value},{value}", f"{value} {value}"]
    return found


def with_header(original: Request, name: str, values: Sequence[str]) -> Request:
    """Return ``original`` with these values of the header, in its place."""
    others = [pair for pair in original.headers if pair[0] != name]
    return replace(original, headers=[*others, *((name, value) for value in values)])


# ---- What nobody has thought of


bytes_or_text = st.binary(max_size=60) | any_text.map(lambda text: text.encode("utf-8", "surrogatepass"))
latin_1 = st.text(alphabet=st.characters(max_codepoint=255), max_size=60)


def hostile_bodies(provider: str) -> st.SearchStrategy[bytes]:
    """Return bodies of every kind, JSON and forms with the provider's own names among them."""
    names = known(provider).field_names
    fields = st.lists(st.tuples(st.sampled_from(names), any_text | st.just("%zz")), max_size=8)
    return st.one_of(
        bytes_or_text,
        json_values(names).map(lambda value: json.dumps(value).encode()),
        fields.map(
            lambda pairs: b"&".join(f"{name}={value}".encode("utf-8", "surrogatepass") for name, value in pairs)
        ),
        st.sampled_from([event.body for event in known(provider).events]),
    )


def hostile_requests(provider: str) -> st.SearchStrategy[Request]:
    """Return requests made up from nothing but the names that mean something to the provider."""
    values = header_text | latin_1
    headers = st.lists(st.tuples(st.sampled_from(known(provider).header_names), values), max_size=8)
    url = st.sampled_from((URL, *ODD_URLS)) | latin_1.map(lambda text: f"{URL}?{text}")
    return st.builds(
        Request, st.sampled_from(["POST", "GET", "PUT", "OPTIONS", "", "\xff"]), url, headers, hostile_bodies(provider)
    )


@st.composite
def changed_requests(draw: st.DrawFn, provider: str) -> Request:
    """Return an authentic request with a byte, a header or its body changed, up to three times."""
    seeds = [*known(provider).events, *known(provider).handshakes]
    request = draw(st.sampled_from(seeds))
    for change in draw(st.lists(st.sampled_from(_CHANGES), min_size=1, max_size=3)):
        request = change(draw, request, provider)
    return request


def _byte(draw: st.DrawFn, request: Request, _provider: str) -> Request:
    at = draw(st.integers(0, len(request.body)))
    cut = draw(st.integers(0, 3))
    return replace(request, body=request.body[:at] + draw(st.binary(max_size=3)) + request.body[at + cut :])


def _body(draw: st.DrawFn, request: Request, provider: str) -> Request:
    return replace(request, body=draw(hostile_bodies(provider)))


def _member(draw: st.DrawFn, request: Request, provider: str) -> Request:
    """Another value for one of the members, wherever it is, signed anew: only so does it reach what is behind."""
    try:
        value = json.loads(request.body)
    except ValueError:
        return request
    objects = list(_objects(value))
    if not objects:
        return request
    found = draw(st.sampled_from(objects))
    name = draw(st.sampled_from(sorted({*found, *known(provider).field_names})))
    found[name] = draw(json_values(known(provider).field_names))
    return resigned(provider, json.dumps(value).encode(), unsigned_headers(provider, request)) or request


def _objects(value: object) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(found for held in value.values() for found in _objects(held))]
    if isinstance(value, list):
        return [found for held in value for found in _objects(held)]
    return []


def _header(draw: st.DrawFn, request: Request, provider: str) -> Request:
    names = known(provider).header_names
    return with_header(request, draw(st.sampled_from(names)), draw(st.lists(header_text | latin_1, max_size=2)))


def _character(draw: st.DrawFn, request: Request, _provider: str) -> Request:
    if not request.headers:
        return request
    which = draw(st.integers(0, len(request.headers) - 1))
    name, value = request.headers[which]
    at = draw(st.integers(0, len(value)))
    changed = (
        value[:at]
        + draw(st.text(alphabet=st.characters(max_codepoint=255), max_size=2))
        + value[at + draw(st.integers(0, 2)) :]
    )
    return replace(request, headers=[*request.headers[:which], (name, changed), *request.headers[which + 1 :]])


def _url(draw: st.DrawFn, request: Request, _provider: str) -> Request:
    return replace(request, url=draw(st.sampled_from(ODD_URLS) | latin_1.map(lambda text: f"{request.url}?{text}")))


_CHANGES: Sequence[Callable[[st.DrawFn, Request, str], Request]] = (_byte, _body, _member, _header, _character, _url)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_whatever_is_made_up_is_refused_or_stored(provider: str) -> None:
    @quickly
    @given(hostile_requests(provider))
    def check(checked: Request) -> None:
        holds(provider, checked)

    check()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_whatever_an_authentic_request_becomes_is_refused_or_stored(provider: str) -> None:
    @quickly
    @given(changed_requests(provider), st.floats(-1e12, 1e12))
    def check(checked: Request, late: float) -> None:
        holds(provider, checked, NOW + late)

    check()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_whatever_text_is_masked_or_asked_for_is_an_answer(provider: str) -> None:
    adapter = known(provider).adapter

    @quickly
    @given(any_text)
    def check(text: str) -> None:
        assert known(provider).secret not in adapter.masked(text + known(provider).secret + text)
        assert adapter.takes(text) in (True, False)

    check()
