"""Signatures that are hashes: HMACs, and plain hashes of a text that holds the secret."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence

from ingest.adapters import templates
from ingest.adapters.base import RefusedError, Request, same
from ingest.adapters.declaration import Signature
from ingest.adapters.header_layout import Layout
from ingest.adapters.macs import Mac, keyed
from ingest.adapters.stamps import Stamp
from ingest.adapters.verifier import Draft
from tidegate.errors import UsageError

_LIKELY = "another secret, or what is signed was changed on its way: compare the secret with the provider's"
_LIKELY_URL = f"{_LIKELY}, and public_url with the URL that the provider calls"
_PUBLIC = ("-----BEGIN PUBLIC", "-----BEGIN CERT", "whpk_")


class HashVerifier:
    """HMAC (kind `hmac`) or plain hash (kind `digest`) in a header."""

    def __init__(self, words: Signature, stamp: Stamp | None, secrets: Sequence[str]) -> None:
        self._is_digest = words.kind == "digest"
        make = _plain if self._is_digest else keyed
        self._keys = [(key, make(key, words.hash)) for key in (key_bytes(secret, words) for secret in secrets)]
        self._stamp = stamp
        self._layout = Layout(words, stamp)
        self.secret_headers = self._layout.names
        self._signed = templates.compiled(words.signed)
        self._header_names = templates.header_names(words.signed)
        self._encoded = _ENCODINGS[words.encoding]
        self._name = f"{'hash' if self._is_digest else 'hmac'}-{words.hash}"
        self._likely = _LIKELY_URL if "{url}" in words.signed or "{path}" in words.signed else _LIKELY

    def is_borne(self, request: Request) -> bool:
        """Tell whether the header is there."""
        return self._layout.is_there(request)

    def verify(self, request: Request, now_seconds: float) -> int:
        """Return which secret makes one of the signatures that ``request`` bears."""
        given, pairs = self._layout.read(request)
        stamp = self._stamp
        timestamp = ""
        if stamp is not None:
            text = stamp.text(request, pairs) if not stamp.in_body else None
            if text is not None:
                stamp.check(text, now_seconds)
                timestamp = text
        for index, (key, mac) in enumerate(self._keys):
            expected = self._encoded(mac(self._signed(request, timestamp, key)))
            for signature in given:
                if same(expected, signature):
                    if stamp is not None and stamp.in_body:  # no stranger's body is parsed
                        text = stamp.text(request, pairs)
                        if text is not None:
                            stamp.check(text, now_seconds)
                    return index
        raise RefusedError("bad_signature", self._likely)

    def expected(self, request: Request, timestamp: str) -> list[str]:
        """Return the signature that each secret makes, for whoever explains; ``timestamp`` as received, empty for none.

        Raises RefusedError where a header that is signed is not there.
        """
        return [self._encoded(mac(self._signed(request, timestamp, key))) for key, mac in self._keys]

    def scheme(self, request: Request) -> str:
        """Return the hash, `none` without the header."""
        return self._name if self.is_borne(request) else "none"

    def signed_time(self, request: Request) -> str | None:
        """Return the timestamp as the request bears it."""
        return None if self._stamp is None else self._stamp.seen(request, self._layout.seen(request))

    def signed_seconds(self, request: Request) -> float | None:
        """Return the same as Unix seconds."""
        return None if self._stamp is None else self._stamp.seen_seconds(request, self._layout.seen(request))

    def sign(self, draft: Draft) -> None:
        """Add timestamp and signature."""
        borne = {name.lower() for name, _ in draft.headers}
        for name in self._header_names:
            if name.lower() not in borne:
                draft.headers.append((name, draft.message_id))
        timestamp = ""
        if self._stamp is not None:
            timestamp = self._stamp.of(draft.now_seconds)
            if (header := self._stamp.header()) is not None:
                draft.headers.append((header, timestamp))
        try:
            key, mac = self._keys[0]
            made = self._encoded(mac(self._signed(draft.request(), timestamp, key)))
        except RefusedError as error:
            raise UsageError(f"cannot be signed: {error.detail}") from None
        draft.headers.append(self._layout.written(made, timestamp))

    def without_secret(self, body: bytes) -> bytes:
        """Return ``body``: nothing is in it."""
        return body


def key_bytes(secret: str, words: Signature) -> bytes:
    """Return the key that ``secret`` is; raise UsageError where it is none as the provider writes it."""
    if secret.lstrip().startswith(_PUBLIC):
        raise UsageError(
            "a configured secret is a public key, which anybody may have: this provider's is one that nobody else knows"
        )
    bare = secret.removeprefix(words.key_prefix)
    if words.key == "hex":
        try:
            key = bytes.fromhex(bare)
        except ValueError:
            raise UsageError("a configured secret is not hexadecimal, as this provider's are") from None
    elif words.key == "base64":
        try:
            padded = bare.rstrip("=")
            key = base64.b64decode(padded + "=" * (-len(padded) % 4), altchars=None, validate=True)
        except (binascii.Error, ValueError):
            raise UsageError("a configured secret is not base64, as this provider's are") from None
    else:
        key = bare.encode()
    if not key.strip():
        raise UsageError("a configured secret is empty")
    return key


def _plain(key: bytes, hash_name: str) -> Mac:
    """Return what hashes a text that holds the key, so that it stands where `macs.keyed` does."""
    return lambda content: hashlib.new(hash_name, content).digest()


def _base64(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode()


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


_ENCODINGS: dict[str, Callable[[bytes], str]] = {"hex": bytes.hex, "base64": _base64, "base64url": _base64url}
