"""Why a signature fails: most support time goes there, so the one difference must be named, and no other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.adapters import build
from ingest.adapters.base import Adapter, Request
from ingest.diagnosis import BODY_BYTES_MAX, difference
from tests.ingest.adapters.requests import NOW, any_text, header_text, request, signed, with_header

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
PUBLIC = "https://hooks.example.com/webhooks/eu"
INNER = "http://10.0.0.7:8080/webhooks/eu"

hubspot = build("hubspot", [SECRET])
svix = build("svix", [SECRET])
lemlist = build("lemlist", [SECRET])


def called(url: str, *headers: tuple[str, str], told: str = PUBLIC) -> Request:
    """Return what HubSpot, told ``told``, signed and we see as a call of ``url``."""
    made = signed(hubspot, b'[{"a": 1}]', url=told)
    return replace(made, url=url, headers=[*made.headers, *headers])


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (called(PUBLIC.replace("https", "http")), f"good for https:// instead of http://: set public_url to {PUBLIC}"),
        (called(PUBLIC + "/"), f"good with the slash at the URL's end the other way: set public_url to {PUBLIC}"),
        (called(PUBLIC + "?key=abc"), "good for the URL without its query"),
        (called(INNER, ("host", "hooks.example.com")), f"set public_url to {PUBLIC}"),
        (called(INNER, ("host", "x"), ("x-forwarded-host", "hooks.example.com")), f"set public_url to {PUBLIC}"),
        (
            called(INNER + "?key=abc", ("host", "hooks.example.com"), told=PUBLIC + "?key=abc"),
            f"set public_url to {PUBLIC}",
        ),
    ],
)
def test_a_proxy_that_changes_the_url_is_found_and_the_right_one_named(seen: Request, said: str) -> None:
    found = difference(hubspot, seen, NOW)
    assert found is not None
    assert said in found
    assert "abc" not in found, "values of a query may be secret"


@pytest.mark.parametrize(
    ("body", "seen", "said"),
    [
        (b'{"a":1}', b'{"a": 1}', "the same JSON written otherwise"),
        (b'{"a":1}\n', b'{"a":1}', "with a newline after the body"),
        (b'{"a":1}', b'{"a":1}\r\n', "without the newline"),
        (b'{\r\n"a":1}', b'{\n"a":1}', "line ends"),
    ],
)
@pytest.mark.parametrize("adapter", [hubspot, svix], ids=["hubspot", "svix"])
def test_what_rewrites_the_body_is_found(adapter: Adapter, body: bytes, seen: bytes, said: str) -> None:
    found = difference(adapter, replace(signed(adapter, body), body=seen), NOW)
    assert found is not None
    assert said in found


@pytest.mark.parametrize("provider", ["hubspot", "lemlist", "standard-webhooks", "svix"])
def test_the_secret_of_another_source_is_found(provider: str) -> None:
    eu, us = build(provider, [SECRET]), build(provider, ["b2xkIG9sZCBvbGQgb2xk"])
    others = {"eu": eu, "us": us, "else": build("lemlist" if provider != "lemlist" else "svix", [SECRET])}
    seen = signed(us, b'{"a":1}')
    assert "secret of source us" in (difference(eu, seen, NOW, others=others) or "")
    assert difference(eu, seen, NOW, others={"eu": eu}) is None


@pytest.mark.parametrize("provider", ["hubspot", "lemlist"])
def test_a_secret_with_its_newline_is_found(provider: str) -> None:
    pasted = build(provider, [SECRET + "\n"])
    assert "without the space or newline" in (difference(pasted, signed(build(provider, [SECRET]), b"{}"), NOW) or "")


@pytest.mark.parametrize("adapter", [hubspot, svix], ids=["hubspot", "svix"])
@pytest.mark.parametrize("off", [720, -720])
def test_a_good_signature_with_a_wrong_clock_is_told_from_a_bad_one(adapter: Adapter, off: int) -> None:
    seen = signed(adapter, b'{"a":1}', now=NOW - off)
    found = difference(adapter, seen, NOW)
    assert found is not None
    assert found.startswith("good but for the clock: signed 720 s")
    assert difference(adapter, replace(seen, body=b"forged"), NOW) is None
    both = difference(adapter, replace(seen, body=b'{"a": 1}'), NOW)
    assert both is not None
    assert "written otherwise" in both
    assert "moreover it was signed 720 s" in both


def test_what_is_good_or_no_signature_at_all_has_no_difference() -> None:
    assert difference(hubspot, signed(hubspot, b"{}"), NOW) is None
    assert difference(hubspot, request(b"{}"), NOW) is None
    assert difference(svix, with_header(signed(svix, b"{}"), "svix-signature", "v9,x"), NOW) is None


def test_large_bodies_are_varied_in_their_url_only() -> None:
    body = b'{"a":"' + b"x" * BODY_BYTES_MAX + b'"}'
    assert difference(svix, replace(signed(svix, body), body=body + b"\n"), NOW) is None
    seen = replace(signed(hubspot, body, url=PUBLIC), url=PUBLIC + "/")
    assert "slash" in (difference(hubspot, seen, NOW) or "")


def test_a_url_is_named_without_what_it_hides() -> None:
    told = f"https://ada:hunter2@hooks.example.com/{SECRET}/\x1b[31m"
    found = difference(hubspot, called(told.replace("https", "http"), told=told), NOW)
    assert found is not None
    assert "set public_url to https://***@hooks.example.com/***/?[31m" in found


_NAMES = [
    *("X-HubSpot-Signature-v3", "X-HubSpot-Request-Timestamp", "X-HubSpot-Signature", "X-HubSpot-Signature-Version"),
    *("svix-id", "svix-timestamp", "svix-signature", "host", "x-forwarded-host"),
]


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.tuples(st.sampled_from(_NAMES), header_text), max_size=6),
    st.binary(max_size=60) | st.sampled_from([b'{"secret":"x"}', b'{"a":' * 500, b"[1e400]", b'["\\ud800"]']),
    any_text | any_text.map(lambda text: f"https://{text}"),
    st.sampled_from(["POST", "GET", ""]),
)
def test_no_request_breaks_it(headers: list[tuple[str, str]], body: bytes, url: str, method: str) -> None:
    others = {"a": hubspot, "b": svix, "c": lemlist, "d": build("hubspot", ["other"])}
    for adapter in (hubspot, svix, lemlist):
        good = signed(adapter, b"{}")
        for seen in (request(body, headers, method=method, url=url), replace(good, url=url, body=body)):
            found = difference(adapter, seen, NOW, others=others)
            assert found is None or (SECRET not in found and len(found) < 700)
