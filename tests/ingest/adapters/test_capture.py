"""`tidegate verify` says of each captured request whether it is authentic, and names the fault where it can."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.adapters import build
from ingest.adapters.capture import check
from tests.ingest.adapters.requests import NOW, URL

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def line(
    provider: str = "hubspot", body: bytes = b'[\n  {"eventId": 1}\n]', /, *, less: str = "", **changed: Any
) -> dict[str, Any]:
    """Return a captured request that is authentic, then with ``changed`` members and without those named in ``less``."""
    headers, sent = build(provider, [SECRET]).sign(body, url=URL, now_seconds=NOW, message_id="msg_1")
    made = {
        "provider": provider,
        "secret": SECRET,
        "at": NOW,
        "method": "POST",
        "url": URL,
        "headers": [list(pair) for pair in headers],
        "body": sent.decode(),
        **changed,
    }
    return {name: value for name, value in made.items() if name not in less.split()}


def reason(captured: object) -> str:
    verdict = check(captured, default_adapter=None, default_now=NOW)
    assert verdict.valid == (verdict.reason == "valid")
    return verdict.reason


def detail(captured: object) -> str:
    verdict = check(captured, default_adapter=None, default_now=NOW)
    assert not verdict.valid
    assert SECRET not in verdict.detail
    return verdict.detail


@pytest.mark.parametrize("provider", ["hubspot", "lemlist", "standard_webhooks", "svix"])
def test_a_line_may_bring_all_it_needs(provider: str) -> None:
    body = b'{"_id": "a"}'
    assert reason(line(provider, body)) == "valid"
    as_base64 = line(provider, body)
    as_base64["body_base64"] = base64.b64encode(as_base64.pop("body").encode()).decode()
    assert reason(as_base64) == "valid"
    assert reason(line(provider, body, less="at", now=NOW)) == "valid"
    assert reason(line(provider, body, less="at")) == "valid"


def test_a_line_may_leave_all_to_the_source() -> None:
    source = build("hubspot", [SECRET])
    for less in ("secret", "secret provider", "provider"):
        assert check(line(less=less), default_adapter=source, default_now=0).valid
    assert check(line(less="secret at"), default_adapter=source, default_now=0).reason == "future"
    assert check(line("svix", b"{}", less="secret"), default_adapter=source, default_now=NOW).reason == "config_error"


@pytest.mark.parametrize(
    "captured",
    [
        None, [], "x", 5, line(less="body"), line(body_base64="AAAA"), line(less="body", body_base64="é"), line(body=5),
        line(body="\ud800"), line(url=5), line(method=[]), line(provider=5), line(secret=5), line(headers=5),
        line(headers={"a": "b"}), line(headers=[["a"]]), line(headers=[["a", 5]]), line(headers=["ab"]),
        line(at="now"), line(at=True), line(at=float("nan")), line(at=10**400),
    ],
)  # fmt: skip
def test_a_line_that_is_no_request_is_named_so(captured: object) -> None:
    assert reason(captured) == "bad_line"
    assert detail(captured)


@pytest.mark.parametrize(
    "captured",
    [
        line(less="provider"), line(less="secret"), line(provider="hubsport"), line(secret=""), line("svix", secret="whsk_AAAA"),
        line(less="provider secret"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_is_named_so(captured: object) -> None:
    assert reason(captured) == "config_error"


@pytest.mark.parametrize(
    ("captured", "said"),
    [
        (line(secret=SECRET + "\n"), "without the space or newline around"),
        (line(url=URL.replace("https", "http")), "for https:// instead of http://"),
        (line(url=URL + "/"), "slash at the URL's end"),
        (line(url=URL + "?a=1"), "without its query"),
        (line(method="GET"), "for the method POST"),
        (line(body='[\n  {"eventId": 1}\n]\n'), "without the newline"),
        (line(body='[\r\n  {"eventId": 1}\r\n]'), "line ends"),
        (line(body='[{"eventId":1}]'), "another secret, or the URL or the body"),
        (line("svix", b'{"a":"\xc3\xa9"}', body='{"a": "\\u00e9"}'), "written otherwise"),
        (line(secret="other"), "another secret"),
        (line(at=NOW + 900), "signed 900 s ago, 300 s are allowed"),
        (line(at=NOW - 900), "signed 900 s ahead"),
    ],
)
def test_a_small_difference_is_found(captured: dict[str, Any], said: str) -> None:
    assert said in detail(captured)


def test_an_authentic_request_whose_body_the_gate_refuses_is_told_apart() -> None:
    verdict = check(line("hubspot", b"not json"), default_adapter=None, default_now=NOW)
    assert verdict.valid
    assert "malformed_body" in verdict.detail


def test_a_line_may_bring_several_secrets_any_of_which_verifies() -> None:
    assert reason(line("stripe", b"{}", secret=["other", SECRET])) == "valid"
    assert reason(line("stripe", b"{}", secret=["other", "another"])) == "bad_signature"
    assert reason(line("stripe", b"{}", secret=["other", 5])) == "bad_line"
    assert reason(line("stripe", b"{}", secret=[])) == "config_error"


def test_a_provider_of_ones_own_is_known_by_its_declaration() -> None:
    own = {"acme": {"signature": {"kind": "hmac", "header": "X-Acme"}}}
    headers, _ = build("acme", [SECRET], own=own).sign(b"{}", url=URL, now_seconds=NOW, message_id="m")
    captured = {"provider": "acme", "secret": SECRET, "headers": [list(pair) for pair in headers], "body": "{}"}
    assert check(captured, default_adapter=None, default_now=NOW, own=own).valid
    assert reason(captured) == "config_error"


def test_a_line_may_say_otherwise_than_the_declaration() -> None:
    headers, _ = build("github", ["s"], options={"signature": {"hash": "sha1"}}).sign(
        b"{}", url=URL, now_seconds=NOW, message_id="m"
    )
    captured = {"provider": "github", "secret": "s", "headers": [list(pair) for pair in headers], "body": "{}"}
    assert reason(captured | {"options": {"signature": {"hash": "sha1"}}}) == "valid"
    assert reason(captured) == "bad_signature"
    assert reason(captured | {"options": {"signature": {"hsah": "sha1"}}}) == "config_error"
    assert reason(captured | {"options": ["x"]}) == "bad_line"


def test_the_secret_of_another_source_is_named() -> None:
    others = {"us": build("stripe", [SECRET])}
    verdict = check(
        line("stripe", b"{}", less="secret"), default_adapter=build("stripe", ["other"]), default_now=NOW, others=others
    )
    assert "secret of source us" in verdict.detail


def test_a_handshake_verifies_like_any_and_is_said_to_be_one() -> None:
    greeting = b'{"type": "url_verification", "challenge": "abc"}'
    verdict = check(line("slack", greeting), default_adapter=None, default_now=NOW)
    assert (verdict.valid, verdict.detail) == (True, "a handshake, which the gate answers with 200")
    assert reason(line("slack", greeting, secret="other")) == "bad_signature"


def test_a_handshake_that_nobody_signs_is_what_the_gate_makes_of_it() -> None:
    words = {
        "signature": {"kind": "hmac", "header": "X-Acme"},
        "handshakes": [
            {"method": "GET", "when": {"query:mode": "subscribe"}, "secret": "query:token", "text": "query:challenge"}
        ],
    }
    source = build("acme", [SECRET], own={"acme": words}, handshake_secret="verify-me")
    asked = {"method": "GET", "url": f"{URL}?mode=subscribe&token=verify-me&challenge=1", "headers": [], "body": ""}
    wrong = asked | {"url": f"{URL}?mode=subscribe&token=no&challenge=1"}
    none = asked | {"url": URL}
    verdicts = [check(one, default_adapter=source, default_now=NOW) for one in (asked, wrong, none)]
    assert [verdict.reason for verdict in verdicts] == ["valid", "bad_signature", "missing_header"]


def test_how_a_line_was_judged_is_told_and_the_cause_last() -> None:
    good = check(line("stripe", b"{}"), default_adapter=None, default_now=NOW)
    assert [step.name for step in good.steps] == [
        *("headers", "signature", "time", "signed", "{timestamp}", "{body}", "secret")
    ]
    bad = check(line("stripe", b"{}", secret="other"), default_adapter=None, default_now=NOW)
    assert (bad.steps[-1].name, bad.steps[-1].told) == ("cause", bad.detail)
    assert check(None, default_adapter=None, default_now=NOW).steps == ()


def test_headers_are_read_as_the_gate_reads_them() -> None:
    spaced = line()
    spaced["headers"] = [[name.upper(), f" {value}\t"] for name, value in spaced["headers"]]
    assert reason(spaced) == "valid"
    assert reason(
        line("svix", b"{}", headers=[["svix-id", "日本"], ["svix-timestamp", "1"], ["svix-signature", "\ud800"]])
    )


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.dictionaries(
        st.sampled_from(["provider", "secret", "at", "now", "method", "url", "headers", "body", "body_base64"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(alphabet=st.characters(exclude_categories=()))
        | st.sampled_from(["hubspot", "svix", SECRET])
        | st.lists(st.lists(st.text() | st.sampled_from(["svix-id", "svix-timestamp", "svix-signature"]), max_size=3)),
    )
)
def test_no_line_breaks_it(captured: dict[str, Any]) -> None:
    for held in (captured, {**line("svix", b"{}"), **captured}):
        verdict = check(held, default_adapter=None, default_now=NOW)
        assert verdict.reason
        json.dumps([verdict.reason, verdict.detail])
