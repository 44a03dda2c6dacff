"""Authentic requests of every provider there is, made from its own samples: what hostile ones are changed from."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ingest.adapters import build, catalogue, samples, templates
from ingest.adapters.base import Adapter, RefusedError, Request
from ingest.adapters.declaration import Declaration, Handshake, Signature
from ingest.adapters.header_layout import Layout
from ingest.adapters.stamps import Stamp
from tests.ingest.adapters.requests import NOW, URL
from tidegate.errors import UsageError

HANDSHAKE_SECRET = "handshake-secret-41b8"
ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_PUBLIC = "whpk_" + base64.b64encode(ED25519.public_key().public_bytes_raw()).decode()
"""Beside a shared secret: an entry of `v1a` is read too."""
P256 = ec.derive_private_key(20_261_124, ec.SECP256R1())


PUBLIC_KEYS = ("ecdsa-p256", "ed25519")
"""Kinds whose secret here is a public key: the provider alone can sign."""


def _candidates(words: Declaration) -> Iterator[str]:
    """Give secrets as one provider or another writes them, the more usual ones first."""
    if not any(found.kind in PUBLIC_KEYS for found in words.signatures):  # some would be the public key of nobody
        yield "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        yield "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        yield "user:a password of 32 characters"
        yield "5f4dcc3b5aa765d61d8327deb882cf99" * 2
    spki = P256.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    raw = ED25519.public_key().public_bytes_raw()
    yield from (base64.b64encode(spki).decode(), spki.hex(), raw.hex(), base64.b64encode(raw).decode())
    for key in (P256.public_key(), ED25519.public_key()):
        yield key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@dataclass(frozen=True)
class Known:
    """A provider's adapter with a secret, its authentic requests, and the names that mean something to it."""

    adapter: Adapter
    secret: str
    events: Sequence[Request]
    """One of each sample."""
    unsigned: Sequence[bytes]
    """The bodies of the samples before they were signed."""
    handshakes: Sequence[Request]
    header_names: Sequence[str]
    field_names: Sequence[str]


@cache
def known(provider: str) -> Known:
    """Return what there is of ``provider``; raise AssertionError where no secret suits it, or no sample of it is there."""
    words = catalogue.declaration(provider)
    adapter, secret = _built(provider)
    assert words.samples, f"{provider} has no sample: `tidegate send` could not send anything"
    filled = [samples.sample(words, event_type=found.type, now_seconds=NOW) for found in words.samples]
    events = [
        _signed(provider, adapter, one.body, one.headers, message_id=f"msg_{number}")
        for number, one in enumerate(filled)
    ]
    handshakes = [_handshake(provider, adapter, found, "challenge") for found in words.handshakes]
    said = words.model_dump_json()
    headers = {name for request in (*events, *handshakes) for name, _ in request.headers}
    headers |= {name.lower() for name in re.findall(r"header: ?([A-Za-z0-9-]+)", said)}
    fields = set(re.findall(r"[A-Za-z_][A-Za-z0-9_-]*", words.events.model_dump_json() + str(words.handshakes)))
    for request in events:
        fields |= set(re.findall(r'"([^"\\]{1,40})"\s*:', request.body.decode("utf-8", "replace")))
    names = sorted(headers | {"content-type", "authorization"})
    return Known(adapter, secret, events, [one.body for one in filled], handshakes, names, sorted(fields))


def asking(provider: str, challenge: object) -> Iterator[Request]:
    """Give each handshake of ``provider`` with ``challenge`` in the place of what is answered."""
    for found in catalogue.declaration(provider).handshakes:
        with contextlib.suppress(UsageError, RefusedError):
            yield _handshake(provider, known(provider).adapter, found, challenge)


def resigned(provider: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> Request | None:
    """Return ``body`` as the provider would send it; None where it would not."""
    adapter = known(provider).adapter
    try:
        return _signed(provider, adapter, body, headers)
    except (UsageError, RefusedError):
        return None


def _built(provider: str) -> tuple[Adapter, str]:
    words = catalogue.declaration(provider)
    beside = [_PUBLIC] if any(found.kind == "standard-webhooks" for found in words.signatures) else []
    for secret in _candidates(words):
        try:
            return build(provider, [secret, *beside], handshake_secret=HANDSHAKE_SECRET), secret
        except UsageError:
            continue
    raise AssertionError(f"no secret here suits {provider}: add one to the candidates")


def _signed(
    provider: str, adapter: Adapter, body: bytes, headers: Sequence[tuple[str, str]], *, message_id: str = "msg_1"
) -> Request:
    url = adapter.called(URL)
    public = [found for found in catalogue.declaration(provider).signatures if found.kind in PUBLIC_KEYS]
    if public:
        return _sealed(provider, public[0], body, headers)
    made, sent = adapter.sign(body, url=url, now_seconds=NOW, message_id=message_id, headers=headers)
    return Request("POST", url, [(name.lower(), value) for name, value in made], sent)


def _sealed(provider: str, words: Signature, body: bytes, headers: Sequence[tuple[str, str]]) -> Request:
    """Return ``body`` signed with the private key, which no adapter has."""
    declared = catalogue.declaration(provider)
    stamp = Stamp(declared.timestamp, None) if declared.timestamp is not None else None
    borne = [(name.lower(), value) for name, value in headers] or [("content-type", declared.content_types[0])]
    timestamp = "" if stamp is None else stamp.of(NOW)
    if stamp is not None and (header := stamp.header()) is not None:
        borne.append((header.lower(), timestamp))
    content = templates.compiled(words.signed)(Request("POST", URL, borne, body), timestamp, b"")
    raw = ED25519.sign(content) if words.kind == "ed25519" else P256.sign(content, ec.ECDSA(hashes.SHA256()))
    name, value = Layout(words, stamp).written(
        raw.hex() if words.encoding == "hex" else base64.b64encode(raw).decode(), timestamp
    )
    return Request("POST", URL, [*borne, (name.lower(), value)], body)


def _handshake(provider: str, adapter: Adapter, words: Handshake, challenge: object) -> Request:
    """Return a request with all that the handshake asks for and answers."""
    body: dict[str, Any] = {}
    headers: list[tuple[str, str]] = []
    query: list[tuple[str, str]] = []
    held: dict[str, object] = {value: expected for value, expected in words.when.items() if expected}
    if words.secret is not None:
        held[words.secret] = HANDSHAKE_SECRET
    answered = [text for text in (words.text, *words.json_.values(), *words.headers.values()) if text is not None]
    for text in (*answered, *words.when):
        for value in re.sub(r"^hmac-[a-z0-9]+:", "", text).split(" | "):
            held.setdefault(value, challenge)
    for value, content in held.items():
        kind, _, name = value.rpartition(":")
        if kind == "header":
            headers.append((name.strip(), str(content)))
        elif kind == "query":
            query.append((name.strip(), str(content).encode("utf-8", "surrogatepass").decode("latin-1")))
        elif not value.startswith("=") and value not in ("content", "arrival", "signed-time"):
            _put(body, value.removeprefix("$.").split("."), content)
    asked = urlencode(query, encoding="latin-1")
    if words.method == "POST":
        signed = _signed(provider, adapter, json.dumps(body).encode() if body else b"", headers)
        return replace(signed, url=f"{signed.url}{'&' if '?' in signed.url else '?'}{asked}") if asked else signed
    url = f"{URL}?{asked}" if query else URL
    return Request(words.method, url, [(name.lower(), value) for name, value in headers], b"")


def _put(body: dict[str, Any], steps: Sequence[str], content: object) -> None:
    for step in steps[:-1]:
        body = body.setdefault(step, {})
    body[steps[-1]] = content
