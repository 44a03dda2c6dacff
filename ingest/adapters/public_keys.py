"""Signatures that are checked with the provider's public key: ECDSA on P-256 with SHA-256, and Ed25519."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from ingest.adapters import templates
from ingest.adapters.base import RefusedError, Request
from ingest.adapters.declaration import Signature
from ingest.adapters.header_layout import Layout
from ingest.adapters.stamps import Stamp
from ingest.adapters.verifier import BY_PRIVATE_KEY_MAX, Draft
from tidegate.errors import UsageError

_Check = Callable[[bytes, bytes], bool]
"""Of a signature and what was signed."""
_LIKELY = "another key, or what is signed was changed on its way: compare the public key with the provider's"
_SIGNATURE_CHARS_MAX = 512


class PublicKeyVerifier:
    """``secrets`` are public keys. Nobody here holds the private one, so nothing can be signed."""

    def __init__(self, words: Signature, stamp: Stamp | None, secrets: Sequence[str]) -> None:
        make = _ecdsa if words.kind == "ecdsa-p256" else _ed25519
        self._checks = [make(secret.strip(), words) for secret in secrets]
        self._stamp = stamp
        self._layout = Layout(words, stamp)
        self.secret_headers = self._layout.names
        self._signed = templates.compiled(words.signed)
        self._kind = words.kind
        self._decoded = _from_hex if words.encoding == "hex" else _from_base64
        if "{secret}" in words.signed:
            raise UsageError("{secret} cannot be signed with a public key")

    def is_borne(self, request: Request) -> bool:
        """Tell whether the header is there."""
        return self._layout.is_there(request)

    def verify(self, request: Request, now_seconds: float) -> int:
        """Return which key verifies one of the signatures that ``request`` bears."""
        given, pairs = self._layout.read(request)
        if len(given) > BY_PRIVATE_KEY_MAX:
            raise RefusedError(
                "malformed_signature", f"more than {BY_PRIVATE_KEY_MAX} signatures: a rotation needs two or three"
            )
        timestamp = ""
        if self._stamp is not None:
            text = self._stamp.text(request, pairs)
            if text is not None:
                self._stamp.check(text, now_seconds)
                timestamp = text
        signatures = [raw for raw in map(self._decoded, given) if raw is not None]
        if not signatures:
            raise RefusedError("malformed_signature", "the signature cannot be decoded")
        content = self._signed(request, timestamp, b"")
        for index, check in enumerate(self._checks):
            if any(check(signature, content) for signature in signatures):
                return index
        raise RefusedError("bad_signature", _LIKELY)

    def scheme(self, request: Request) -> str:
        """Return the kind, `none` without the header."""
        return self._kind if self.is_borne(request) else "none"

    def signed_time(self, request: Request) -> str | None:
        """Return the timestamp as the request bears it."""
        return None if self._stamp is None else self._stamp.seen(request, self._layout.seen(request))

    def signed_seconds(self, request: Request) -> float | None:
        """Return the same as Unix seconds."""
        return None if self._stamp is None else self._stamp.seen_seconds(request, self._layout.seen(request))

    def sign(self, draft: Draft) -> None:
        """Raise UsageError: only the provider can."""
        raise UsageError(
            "this provider signs with a private key, and its public one only verifies: nothing can be sent in its name; have it "
            "send an event of its own, and look at `tidegate rejects` for why one is refused"
        )

    def without_secret(self, body: bytes) -> bytes:
        """Return ``body``: nothing is in it."""
        return body


def _ecdsa(secret: str, words: Signature) -> _Check:
    try:
        if words.key == "pem" or secret.startswith("-----"):
            key = load_pem_public_key(secret.encode())
        else:
            key = load_der_public_key(_from_hex(secret) or b"" if words.key == "hex" else _from_base64(secret) or b"")
    except ValueError:
        raise UsageError(f"a configured key is no public key in {_form(words)}, as this provider shows it") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError("a configured key is not on the curve P-256, as this provider's are")
    public, algorithm = key, ec.ECDSA(hashes.SHA256())

    def check(signature: bytes, content: bytes) -> bool:
        try:
            public.verify(signature, content, algorithm)
        except InvalidSignature:
            return False
        return True

    return check


def _ed25519(secret: str, words: Signature) -> _Check:
    try:
        if words.key == "pem" or secret.startswith("-----"):
            key = load_pem_public_key(secret.encode())
            if not isinstance(key, Ed25519PublicKey):
                raise ValueError
        else:
            bare = secret.removeprefix(words.key_prefix)
            key = Ed25519PublicKey.from_public_bytes((_from_hex if words.key == "hex" else _from_base64)(bare) or b"")
    except ValueError:
        raise UsageError(f"a configured key is no Ed25519 public key in {_form(words)}") from None
    public = key

    def check(signature: bytes, content: bytes) -> bool:
        try:
            public.verify(signature, content)
        except InvalidSignature:
            return False
        return True

    return check


def _form(words: Signature) -> str:
    return {"hex": "hexadecimal", "pem": "PEM"}.get(words.key, "base64")


def _from_hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text) if len(text) <= _SIGNATURE_CHARS_MAX and text.isascii() and text.isalnum() else None
    except ValueError:
        return None


def _from_base64(text: str) -> bytes | None:
    """Return the bytes; None when it is not base64, as a whole."""
    if len(text) > _SIGNATURE_CHARS_MAX:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
