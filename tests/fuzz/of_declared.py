"""Providers that are declared in words: one target for all of them, as it is one engine that reads them.

An input names the provider in its first line. What a signature is over is said here once more, by what the providers
document: only what says the same as an authentic request may be authentic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import parse_qsl

from ingest.adapters import build, catalogue, samples
from ingest.adapters.base import Adapter, RefusedError, Request
from tests.fuzz import of_json
from tests.fuzz.of_adapter import NOW, URL, changed, request_of, split, text_of, verified
from tests.fuzz.target import Target, expect
from tidegate.errors import UsageError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_FORM = b"application/x-www-form-urlencoded"
Headers = Mapping[str, bytes]


def _stripe(_url: str, headers: Headers, body: bytes) -> bytes:
    pairs = [part.strip().partition(b"=") for part in headers.get("stripe-signature", b"").split(b",")]
    return b"".join(value for name, _, value in pairs if name == b"t") + b"." + body


def _slack(_url: str, headers: Headers, body: bytes) -> bytes:
    return headers.get("x-slack-request-timestamp", b"") + b":" + body


def _shopify(_url: str, _headers: Headers, body: bytes) -> bytes:
    return body


def _twilio(url: str, headers: Headers, body: bytes) -> bytes:
    """The URL with or without its port, and the fields in order: names and values with nothing between them."""
    bare = url.replace("https://hooks.example.com:443/", "https://hooks.example.com/", 1).encode("latin-1")
    if headers.get("content-type", b"").partition(b";")[0].strip().lower() != _FORM:
        return bare + b"\n" + body if body else bare
    fields = sorted(set(parse_qsl(body.decode("utf-8", "surrogateescape"), keep_blank_values=True)))
    return bare + "".join(name + value for name, value in fields).encode("utf-8", "surrogateescape")


SAID: dict[str, Callable[[str, Headers, bytes], bytes]] = {
    "shopify": _shopify,
    "slack": _slack,
    "stripe": _stripe,
    "twilio": _twilio,
}
"""What a provider's signature is over."""
ADAPTERS: dict[str, Adapter] = {provider: build(provider, [SECRET, "an older secret"]) for provider in SAID}
_WORDS = (
    *of_json.WORDS, *(f"{name}\n".encode() for name in SAID), b"stripe-signature: ", b"x-slack-signature: ",
    b"x-slack-request-timestamp: ", b"x-shopify-hmac-sha256: ", b"x-twilio-signature: ", b"content-type: ", _FORM, b"bodySHA256=",
    b"t=", b"v1=", b"v0=", b"1789000000", b"%00", b"%ff", b"&", b"=", b"algorithm=HMAC_SHA256", b"\n\n", b'"challenge"',
)  # fmt: skip


def _said(provider: str, request: Request) -> bytes:
    return SAID[provider](request.url, {name: value.encode("latin-1") for name, value in request.headers}, request.body)


def _sign(provider: str, body: bytes) -> Request | None:
    try:
        headers, sent = ADAPTERS[provider].sign(body, url=URL, now_seconds=NOW, message_id="msg_1")
    except UsageError:
        return None
    return Request("POST", URL, [(name.lower(), value) for name, value in headers], sent)


def _greeted(adapter: Adapter, request: Request) -> None:
    try:
        reply = adapter.greeting(request, NOW)
    except RefusedError:
        return
    if reply is not None:
        expect(200 <= reply.status < 300, "a handshake that is answered is answered well")
        expect(verified(adapter, request), "a stranger's handshake is not answered")


def check_signed(raw: bytes) -> None:
    """What the provider signed is authentic, and what somebody made of it on its way is not."""
    name, _, body = raw.partition(b"\n")
    provider = name.decode("latin-1")
    if provider not in SAID:
        return
    adapter, request = ADAPTERS[provider], _sign(provider, body)
    if request is None:
        return
    is_form = provider == "twilio"  # and not every form can be read
    expect(verified(adapter, request) or is_form, "what is signed is authentic")
    split(adapter, request)
    _greeted(adapter, request)
    for other in changed(request.body):
        forged = replace(request, body=other)
        if _said(provider, forged) != _said(provider, request):
            expect(not verified(adapter, forged), "a changed body is not authentic")


def check_hostile(raw: bytes) -> None:
    """Whole requests: the provider, URL, a header a line, an empty line, body."""
    name, _, rest = raw.partition(b"\n")
    provider = name.decode("latin-1")
    if provider not in SAID:
        return
    adapter, request = ADAPTERS[provider], request_of(rest)
    if verified(adapter, request):
        expect(_said(provider, request) in _KNOWN[provider], "nothing is authentic that was never signed")
    split(adapter, request)
    _greeted(adapter, request)
    adapter.scheme(request)
    adapter.clock_difference(request, NOW)


def _bodies(provider: str) -> list[bytes]:
    declared = catalogue.declaration(provider).samples
    # The same in every process: the one that searches is not the one that wrote down what to begin with.
    found = [samples.filled(one.body.replace("<number>", "7"), one.type, NOW, name="5f4dcc3b") for one in declared]
    return [
        *(text.strip().encode() for text in found),
        b"{}",
        b"[]",
        b"nul",
        b'{"type": "url_verification", "challenge": "c"}',
        b"a=1&b=%E2%82%AC&a=2",
    ]


_SIGNED = {provider: [found for body in _bodies(provider) if (found := _sign(provider, body))] for provider in SAID}
_KNOWN = {provider: {_said(provider, request) for request in found} for provider, found in _SIGNED.items()}
TARGETS = (
    Target(
        "declared-signed",
        check_signed,
        [provider.encode() + b"\n" + body for provider in SAID for body in _bodies(provider)],
        _WORDS,
    ),
    Target(
        "declared-hostile",
        check_hostile,
        [provider.encode() + b"\n" + text_of(found) for provider, each in _SIGNED.items() for found in each],
        _WORDS,
    ),
)
