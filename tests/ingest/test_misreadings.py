"""A contract misread is named: the secret in another form, the signature in another encoding, another provider's request."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from ingest.adapters import build
from ingest.adapters.base import Adapter
from ingest.adapters.capture import check
from ingest.diagnosis import BODY_BYTES_MAX, difference, sender
from tests.ingest.adapters.requests import NOW, any_text, request, with_header
from tidegate.errors import UsageError

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BARE = SECRET.removeprefix("whsec_")
BODY = b'{"id": "evt_1", "type": "a"}'


def acme(secret: str = SECRET, *, timestamp: bool = False, **signature: Any) -> Adapter:
    """Return the adapter of a provider of one's own, an HMAC in `X-Sig` unless said otherwise."""
    words: dict[str, Any] = {"signature": {"kind": "hmac", "header": "X-Sig", **signature}}
    if timestamp:
        words["timestamp"] = {"header": "X-Time"}
    return build("acme", [secret], own={"acme": words})


def found(adapter: Adapter, value: str, *, body: bytes = BODY, name: str = "X-Sig") -> str:
    """Return what is said of a request with this signature."""
    headers = [(name, value), ("X-Time", str(int(NOW)))]
    said = difference(adapter, request(body, headers), NOW) or ""
    assert BARE not in said
    assert value not in said
    return said


def made(key: bytes, *, name: str = "sha256", signed: bytes = BODY) -> bytes:
    return hmac.new(key, signed, name).digest()


@pytest.mark.parametrize(
    ("adapter", "key", "said"),
    [
        (acme(), base64.b64decode(BARE), "the secret decoded from base64, without its whsec_"),
        (acme(), BARE.encode(), "the secret without its whsec_"),
        (acme(BARE), base64.b64decode(BARE), "the secret decoded from base64"),
        (acme(BARE), SECRET.encode(), "whsec_ before the secret"),
        (acme("61" * 20), b"a" * 20, "the secret decoded from hexadecimal"),
        (acme("a" * 20), b"61" * 20, "the secret encoded in hexadecimal"),
        (acme("a" * 20), base64.b64encode(b"a" * 20), "the secret encoded as base64"),
        (acme(key="base64", key_prefix="whsec_"), SECRET.encode(), "the secret taken as the text that it is"),
        (acme(key="base64", key_prefix="whsec_"), BARE.encode(), "the secret without its whsec_"),
        (acme("61" * 20, key="hex"), b"61" * 20, "the secret taken as the text that it is"),
        (acme("61" * 20, key="base64"), b"a" * 20, "the secret decoded from hexadecimal"),
    ],
)
def test_a_secret_in_another_form_is_found(adapter: Adapter, key: bytes, said: str) -> None:
    assert found(adapter, made(key).hex()).startswith(f"good with {said}: put the secret into secrets exactly as")
    assert found(adapter, made(b"other").hex()) == ""


def test_a_secret_without_its_prefix_is_found_for_a_provider_that_tidegate_brings() -> None:
    headers, body = build("stripe", [SECRET]).sign(BODY, url="", now_seconds=NOW, message_id="m")
    said = difference(build("stripe", [BARE]), request(body, headers), NOW)
    assert said == "good with whsec_ before the secret: put the secret into secrets exactly as the provider shows it"


def test_of_several_secrets_one_may_be_misread() -> None:
    adapter = build("acme", ["b2xk", BARE], own={"acme": {"signature": {"kind": "hmac", "header": "X-Sig"}}})
    assert "decoded from base64" in found(adapter, made(base64.b64decode(BARE)).hex())


@pytest.mark.parametrize(
    ("words", "value", "said"),
    [
        ({}, made(SECRET.encode()).hex().upper(), "the signature in small letters: something turned"),
        ({}, base64.b64encode(made(SECRET.encode())).decode(), 'SHA-256 in base64: is it this provider that sends? If it is '),
        ({}, base64.b64encode(made(SECRET.encode())).decode(), 'say encoding = "base64" in'),
        ({"encoding": "base64"}, made(SECRET.encode()).hex(), "the signature as SHA-256 in hexadecimal"),
        ({}, made(SECRET.encode(), name="sha1").hex(), "the signature as SHA-1 in hexadecimal"),
        ({"hash": "sha1"}, made(SECRET.encode(), name="sha512").hex(), "the signature as SHA-512 in hexadecimal"),
        ({}, "sha256=" + made(SECRET.encode()).hex(), "'sha256=' before the signature"),
        ({"prefix": "sha256="}, made(SECRET.encode()).hex(), "nothing before the signature"),
        ({"prefix": "sha256="}, "sha1=" + made(SECRET.encode(), name="sha1").hex(), "'sha1=' before the signature, the sig"),
        ({"layout": "list", "prefix": "v1,", "separator": " "}, made(SECRET.encode()).hex(), "nothing before the signature"),
        ({}, made(base64.b64decode(BARE), name="sha1").hex(), "SHA-1 in hexadecimal, the secret decoded from base64, without"),
    ],
)  # fmt: skip
def test_a_signature_read_another_way_is_found(words: dict[str, Any], value: str, said: str) -> None:
    assert said in found(acme(**words), value)


@pytest.mark.parametrize("signed", ["{timestamp}.{body}", "{timestamp}{body}", "v0:{timestamp}:{body}", "{body}"])
def test_another_text_that_is_signed_is_found(signed: str) -> None:
    other = "{timestamp}:{body}"
    text = signed.replace("{timestamp}", str(int(NOW))).replace("{body}", BODY.decode())
    adapter = acme(timestamp=True, signed=other)
    assert f"good with {signed} signed: is it" in found(adapter, made(SECRET.encode(), signed=text.encode()).hex())


def test_a_plain_hash_misread_is_found() -> None:
    adapter = acme(kind="digest", signed="{secret}{body}")
    assert "SHA-1 in hexadecimal" in found(adapter, hashlib.sha1(SECRET.encode() + BODY).hexdigest())


@pytest.mark.parametrize("provider", ["standard-webhooks", "svix"])
def test_a_standard_webhooks_secret_used_as_text_is_found(provider: str) -> None:
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(NOW, UTC)
    assert SECRET.encode() != base64.b64decode(BARE)
    as_text = "whsec_" + base64.b64encode(SECRET.encode()).decode()  # so that the library's key is the text
    value = Webhook(as_text).sign("m", at, BODY.decode())
    prefix = "svix" if provider == "svix" else "webhook"
    headers = [(f"{prefix}-id", "m"), (f"{prefix}-timestamp", str(int(NOW))), (f"{prefix}-signature", value)]
    said = difference(build(provider, [SECRET]), request(BODY, headers), NOW) or ""
    assert "the secret taken as the text that it is" in said


def test_a_stale_request_that_is_misread_says_both() -> None:
    adapter = acme(BARE, timestamp=True, signed="{timestamp}.{body}")
    at = int(NOW) - 900
    value = made(SECRET.encode(), signed=f"{at}.".encode() + BODY).hex()
    said = difference(adapter, request(BODY, [("X-Sig", value), ("X-Time", str(at))]), NOW) or ""
    assert "whsec_ before the secret" in said
    assert "moreover it was signed 900 s ago" in said


def test_large_bodies_are_not_hashed_a_hundred_times() -> None:
    body = b"x" * (BODY_BYTES_MAX + 1)
    assert found(acme(BARE), made(SECRET.encode(), signed=body).hex(), body=body) == ""


def test_the_request_of_another_provider_is_found() -> None:
    headers, body = build("github", ["s"]).sign(BODY, url="", now_seconds=NOW, message_id="m")
    seen = request(body, headers)
    assert "GitHub: is the source's provider to be github?" in (sender(build("stripe", ["s"]), seen, NOW) or "")
    assert sender(build("stripe", ["other"]), seen, NOW) is None
    assert sender(build("github", ["s"]), with_header(seen, "x-hub-signature-256", None), NOW) is None
    line = {"provider": "stripe", "secret": "s", "headers": [list(pair) for pair in headers], "body": body.decode()}
    assert "provider to be github" in check(line, default_adapter=None, default_now=NOW).detail


_SIGNATURES = st.one_of(
    st.binary(min_size=16, max_size=64).map(bytes.hex),
    st.binary(min_size=32, max_size=32).map(lambda raw: raw.hex().upper()),
    st.binary(min_size=16, max_size=64).map(lambda raw: base64.b64encode(raw).decode()),
    any_text,
)
_FORMS: list[dict[str, Any]] = [
    {},
    {"prefix": "sha256="},
    {"layout": "list", "prefix": "v1,", "separator": " "},
    {"layout": "pairs", "pair": "v1"},
    {"key": "base64", "key_prefix": "whsec_", "encoding": "base64url", "hash": "sha512"},
    {"kind": "digest", "signed": "{secret}{url}{header:X-Time}{body}"},
]


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.tuples(st.sampled_from(["", "sha256=", "v1,", "v1=", "sha1=", "Bearer "]), _SIGNATURES), max_size=3),
    st.binary(max_size=20),
    st.sampled_from([SECRET, BARE, "é\ud7ff", "x_", " ", "whsec_"]),
)
def test_no_signature_breaks_it(values: list[tuple[str, str]], body: bytes, secret: str) -> None:
    headers = [("X-Sig", prefix + text) for prefix, text in values]
    for form in _FORMS:
        try:
            adapter = acme(secret, timestamp=True, **form)
        except UsageError:  # no secret in this form
            continue
        said = difference(adapter, request(body, [*headers, ("X-Time", "1789000000")]), NOW)
        assert said is None
