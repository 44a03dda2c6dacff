"""Standard Webhooks 1.0.0, and Svix, which is the same scheme under its own header names.

Sources: the Standard Webhooks specification (headers, signed content, `v1` and `v1a`, key prefixes) and its reference
libraries (five minutes both ways, secrets without prefix or padding); Svix's documentation and library (header names).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ingest.adapters.base import RefusedError, Request, same
from ingest.adapters.macs import keyed
from ingest.adapters.stamps import Stamp
from ingest.adapters.verifier import BY_PRIVATE_KEY_MAX, SIGNATURES_MAX, Draft
from tidegate.errors import UsageError

_MESSAGE_ID = re.compile(r"[!-\-/-~]+")
"""Visible ASCII without the full stop, which separates id, time and body in what is signed."""


class StandardSignatures:
    """``secrets``: `whsec_` or bare base64 for `v1` (HMAC), `whpk_` for `v1a` (ed25519 public key)."""

    def __init__(self, secrets: Sequence[str], prefixes: Sequence[str], stamp: Stamp) -> None:
        self._prefixes = tuple(prefix.lower() for prefix in prefixes)
        self._ids, self._timestamps, self._signatures = (
            tuple(f"{prefix}-{name}" for prefix in self._prefixes) for name in ("id", "timestamp", "signature")
        )
        self.secret_headers = frozenset(self._signatures)
        self._symmetric = [
            (index, keyed(_symmetric_key(text), "sha256"))
            for index, text in enumerate(secrets)
            if not text.startswith("whpk_")
        ]
        self._public = [(index, _public_key(text)) for index, text in enumerate(secrets) if text.startswith("whpk_")]
        self._stamp = stamp

    def is_borne(self, request: Request) -> bool:
        """Tell whether there is a header with signatures."""
        return any(map(request.values, self._signatures))

    def scheme(self, request: Request) -> str:
        """Return the versions among the listed signatures, joined by a comma; `unknown` where none is one of ours."""
        listed = [value for name in self._signatures for value in request.values(name)]
        if not listed:
            return "none"
        return ",".join(_versions(" ".join(listed))) or "unknown"

    def signed_time(self, request: Request) -> str | None:
        """Return the timestamp header, None without a single one."""
        first: list[str] = next(filter(None, map(request.values, self._timestamps)), [])
        return first[0] if len(first) == 1 else None

    def signed_seconds(self, request: Request) -> float | None:
        """Return the same as Unix seconds."""
        text = self.signed_time(request)
        return None if text is None else self._stamp.seconds(text)

    def verify(self, request: Request, now_seconds: float) -> int:
        """Return which secret verifies one of the listed signatures.

        Versions unknown to us are passed over, as the specification asks, and so is what cannot be read next to what
        can: neither makes a good signature bad.
        """
        message_id, timestamp = _header(request, self._ids), _header(request, self._timestamps)
        listed = _header(request, self._signatures)
        self._stamp.check(timestamp, now_seconds)
        if not _MESSAGE_ID.fullmatch(message_id):
            raise RefusedError(
                "malformed_signature",
                "the message id holds a full stop, or is not visible ASCII: the specification forbids both",
            )
        entries = [entry for entry in listed.split(" ") if entry] if " " in listed else [listed]
        if len(entries) > SIGNATURES_MAX:
            raise RefusedError(
                "malformed_signature", f"more than {SIGNATURES_MAX} signatures: a rotation needs two or three"
            )
        if self._public and sum(entry.startswith("v1a,") for entry in entries) > BY_PRIVATE_KEY_MAX:
            raise RefusedError(
                "malformed_signature", f"more than {BY_PRIVATE_KEY_MAX} signatures v1a: a rotation needs two or three"
            )
        hmacs = [entry[3:] for entry in entries if entry.startswith("v1,")] if self._symmetric else []
        ed25519s = [entry[4:] for entry in entries if entry.startswith("v1a,")] if self._public else []
        content = _content(message_id, timestamp, request.body)
        verified = self._any_hmac(content, hmacs) if hmacs else None
        if verified is None and ed25519s:
            verified = self._any_ed25519(content, ed25519s)
        if verified is not None:
            return verified
        if hmacs or ed25519s:
            raise RefusedError(
                "bad_signature", "another secret, or the body was changed on its way: compare the endpoint's secret"
            )
        if not all("," in entry for entry in entries):
            raise RefusedError(
                "malformed_signature", "a signature is not `version,base64`: does a proxy rewrite the header?"
            )
        raise RefusedError("wrong_scheme", self._what_is_missing(listed))

    def sign(self, draft: Draft) -> None:
        """Sign with the first `whsec_` secret; raise UsageError when there is none."""
        if not self._symmetric:
            raise UsageError(
                "a whpk_ key only verifies: signing needs a whsec_ secret, and without one the sender has to send an event itself"
            )
        timestamp = str(int(draft.now_seconds))
        _, mac = self._symmetric[0]
        signature = _base64(mac(_content(draft.message_id, timestamp, draft.body)))
        prefix = self._prefixes[0]
        draft.headers += [
            (f"{prefix}-id", draft.message_id),
            (f"{prefix}-timestamp", timestamp),
            (f"{prefix}-signature", f"v1,{signature}"),
        ]

    def without_secret(self, body: bytes) -> bytes:
        """Return ``body``: nothing is in it."""
        return body

    def _what_is_missing(self, listed: str) -> str:
        borne = _versions(listed)
        if "v1a" in borne and not self._public:
            return "signed v1a, and no key for that is configured: put the sender's public key (whpk_...) into secrets"
        if "v1" in borne and not self._symmetric:
            return "signed v1, and no key for that is configured: put the endpoint's secret (whsec_...) into secrets"
        return "signed in no version that we know: v1 and v1a"

    def _any_hmac(self, content: bytes, signatures: Sequence[str]) -> int | None:
        for index, mac in self._symmetric:
            right = _base64(mac(content))
            for given in signatures:
                if same(right, given):
                    return index
        return None

    def _any_ed25519(self, content: bytes, signatures: Sequence[str]) -> int | None:
        decoded = [raw for raw in map(_from_base64, signatures) if raw is not None]
        for index, public in self._public:
            if any(_verifies(public, raw, content) for raw in decoded):
                return index
        return None


def _header(request: Request, names: Sequence[str]) -> str:
    """Return the header under the first name it is there with.

    Header by header, as Svix' library does. Mixing two sets gains nothing: id and time are signed wherever they are
    taken from, and `split` takes the same ones.
    """
    for name in names:
        value = request.header(name)
        if value is not None:
            if not value:
                break
            return value
    raise RefusedError("missing_header", f"{' or '.join(names)} is missing or empty: does a proxy drop it?")


def _versions(listed: str) -> list[str]:
    """Return which of the versions we know are among the signatures in ``listed``."""
    entries = listed.split(" ", SIGNATURES_MAX)
    return [version for version in ("v1", "v1a") if any(entry.startswith(f"{version},") for entry in entries)]


def _content(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _base64(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode()


def _verifies(public: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        public.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _symmetric_key(text: str) -> bytes:
    if text.startswith("whsk_"):
        raise UsageError("whsk_ is the sender's private key: give the public one (whpk_) or a shared secret (whsec_)")
    secret = _from_base64(text.removeprefix("whsec_"))
    if not secret:
        raise UsageError("a Standard Webhooks secret is base64, with or without whsec_ before it: this one is not")
    return secret


def _public_key(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(_from_base64(text.removeprefix("whpk_")) or b"")
    except ValueError:
        raise UsageError("a whpk_ key is 32 bytes in base64: this one is not") from None


def _from_base64(text: str) -> bytes | None:
    """Return the bytes; None when it is not base64. Padding may be missing: senders and libraries leave it out."""
    bare = text.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
