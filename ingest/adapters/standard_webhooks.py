"""Standard Webhooks 1.0.0, and Svix, which is the same scheme under its own header names.

Sources: the Standard Webhooks specification (headers, signed content, `v1` and `v1a`, key prefixes) and its reference
libraries (five minutes both ways, secrets without prefix or padding); Svix's documentation and library (header names).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ingest.adapters import clock
from ingest.adapters.base import JsonSender, Parsed, RefusedError, Request, same, usable
from ingest.adapters.clock import check_fresh, epoch_ms, iso_ms, signed_time
from ingest.adapters.limits import bounded, event_type, key
from tidegate import jsontext
from tidegate.errors import UsageError

_SIGNATURES_MAX = 16
"""A rotation needs two or three. Each v1a entry costs a public-key operation, and who sends them is not known yet."""
_MESSAGE_ID = re.compile(r"[!-\-/-~]+")
"""Visible ASCII without the full stop, which separates id, time and body in what is signed."""


class _Signed(NamedTuple):
    message_id: str
    timestamp: str
    signatures: str


class StandardWebhooksAdapter(JsonSender):
    """One sender. ``secrets``: `whsec_` or bare base64 for `v1` (HMAC), `whpk_` for `v1a` (ed25519 public key)."""

    provider = "standard-webhooks"
    prefixes: tuple[str, ...] = ("webhook",)
    content_types = frozenset({"application/json", "+json"})
    # busy_status: the specification asks senders to repeat whatever is no 2xx (410 ends the endpoint for good), and to slow
    # down on 429, 502 and 504; Svix tries eight times within 28 hours.

    def __init__(self, secrets: Sequence[str], *, tolerance_seconds: int = 300) -> None:
        given = usable(secrets)
        super().__init__(given)
        self._symmetric = [_symmetric_key(text) for text in given if not text.startswith("whpk_")]
        self._public = [_public_key(text) for text in given if text.startswith("whpk_")]
        self._tolerance_seconds = tolerance_seconds

    def trimmed(self) -> Self | None:
        """Return None: a secret with space around it is no base64, and was refused at the start."""
        return None

    def scheme(self, request: Request) -> str:
        """Return the versions among the listed signatures, joined by a comma; `unknown` where none is one of ours."""
        listed = [value for prefix in self.prefixes for value in request.values(f"{prefix}-signature")]
        if not listed:
            return "none"
        return ",".join(_versions(" ".join(listed))) or "unknown"

    def clock_difference(self, request: Request, now_seconds: float) -> float | None:
        """Return how far the timestamp header is behind ours; None without a readable one."""
        found = (request.values(f"{prefix}-timestamp") for prefix in self.prefixes)
        return clock.difference(next(filter(None, found), []), now_seconds)

    def verify(self, request: Request, now_seconds: float) -> None:
        """Return when one of the listed signatures verifies under one of the secrets.

        Versions unknown to us are passed over, as the specification asks, and so is what cannot be read next to what
        can: neither makes a good signature bad.
        """
        message_id, timestamp, listed = self._signed(request)
        check_fresh(signed_time(timestamp, "timestamp"), now_seconds, self._tolerance_seconds)
        if not _MESSAGE_ID.fullmatch(message_id):
            raise RefusedError(
                "malformed_signature",
                "the message id holds a full stop, or is not visible ASCII: the specification forbids both",
            )
        entries = [entry for entry in listed.split(" ") if entry]
        if len(entries) > _SIGNATURES_MAX:
            raise RefusedError(
                "malformed_signature", f"more than {_SIGNATURES_MAX} signatures: a rotation needs two or three"
            )
        hmacs = [entry[3:] for entry in entries if entry.startswith("v1,")] if self._symmetric else []
        ed25519s = [entry[4:] for entry in entries if entry.startswith("v1a,")] if self._public else []
        content = _content(message_id, timestamp, request.body)
        if hmacs and self._any_hmac(content, hmacs):
            return
        if ed25519s and self._any_ed25519(content, ed25519s):
            return
        if hmacs or ed25519s:
            raise RefusedError(
                "bad_signature", "another secret, or the body was changed on its way: compare the endpoint's secret"
            )
        if not all("," in entry for entry in entries):
            raise RefusedError(
                "malformed_signature", "a signature is not `version,base64`: does a proxy rewrite the header?"
            )
        raise RefusedError("wrong_scheme", self._what_is_missing(listed))

    def split(self, request: Request) -> list[Parsed]:
        """Return the one event. Its id is the message id, which a retry repeats.

        ``key`` is the noun that the type begins with and the id that ``data`` holds for it: `enrollment.paused` with
        `enrollment_id` (or `id`) "e-1" is `enrollment:e-1`.
        """
        message_id, timestamp, _ = self._signed(request)
        try:
            body = jsontext.loads(request.body)
        except jsontext.NotJsonError as error:
            raise RefusedError("malformed_body", str(error)) from None
        if not isinstance(body, dict):
            raise RefusedError("malformed_body", "not an object: the specification asks for one")
        kind = event_type(body.get("type", "unknown"))
        occurred_at_ms = iso_ms(body.get("timestamp"))
        if occurred_at_ms is None:
            occurred_at_ms = iso_ms(body.get("created_at"))
        if occurred_at_ms is None:
            occurred_at_ms = epoch_ms(signed_time(timestamp, "timestamp") * 1000)
        return [
            Parsed(
                provider_event_id=bounded(message_id),
                event_type=kind or "unknown",
                occurred_at_ms=occurred_at_ms,
                key=_key(kind, body.get("data")),
                payload=request.body,
                malformed=None if kind else "type is not the name of a type",
            )
        ]

    def sign(
        self, body: bytes, *, url: str, now_seconds: float, message_id: str
    ) -> tuple[list[tuple[str, str]], bytes]:
        """Sign with the first `whsec_` secret; ``url`` is not covered. Raises UsageError when there is none."""
        if not self._symmetric:
            raise UsageError("a whpk_ key only verifies: signing needs a whsec_ secret")
        timestamp = str(int(now_seconds))
        signature = _hmac(self._symmetric[0], _content(message_id, timestamp, body))
        prefix = self.prefixes[0]
        return [
            ("Content-Type", "application/json"),
            (f"{prefix}-id", message_id),
            (f"{prefix}-timestamp", timestamp),
            (f"{prefix}-signature", f"v1,{signature}"),
        ], body

    def _what_is_missing(self, listed: str) -> str:
        borne = _versions(listed)
        if "v1a" in borne and not self._public:
            return "signed v1a, and no key for that is configured: put the sender's public key (whpk_...) into secrets"
        if "v1" in borne and not self._symmetric:
            return "signed v1, and no key for that is configured: put the endpoint's secret (whsec_...) into secrets"
        return "signed in no version that we know: v1 and v1a"

    def _signed(self, request: Request) -> _Signed:
        return _Signed(
            self._header(request, "id"), self._header(request, "timestamp"), self._header(request, "signature")
        )

    def _header(self, request: Request, name: str) -> str:
        """Return the header under the first prefix it is there with.

        Header by header, as Svix' library does. Mixing two sets gains nothing: id and time are signed wherever they
        are taken from, and `split` takes the same ones.
        """
        for prefix in self.prefixes:
            value = request.header(f"{prefix}-{name}")
            if value is not None:
                if not value:
                    break
                return value
        named = " or ".join(f"{prefix}-{name}" for prefix in self.prefixes)
        raise RefusedError("missing_header", f"{named} is missing or empty: does a proxy drop it?")

    def _any_hmac(self, content: bytes, signatures: Sequence[str]) -> bool:
        expected = [_hmac(secret, content) for secret in self._symmetric]
        return any(same(right, given) for right in expected for given in signatures)

    def _any_ed25519(self, content: bytes, signatures: Sequence[str]) -> bool:
        decoded = [raw for raw in map(_from_base64, signatures) if raw is not None]
        return any(_verifies(public, raw, content) for public in self._public for raw in decoded)


class SvixAdapter(StandardWebhooksAdapter):
    """A sender that uses Svix: `svix-*` headers, or `webhook-*` where its name is hidden; `svix-*` wins."""

    provider = "svix"
    prefixes = ("svix", "webhook")


def _versions(listed: str) -> list[str]:
    """Return which of the versions we know are among the signatures in ``listed``."""
    entries = listed.split(" ", _SIGNATURES_MAX)
    return [version for version in ("v1", "v1a") if any(entry.startswith(f"{version},") for entry in entries)]


def _content(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _hmac(secret: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.digest(secret, content, "sha256")).decode()


def _verifies(public: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        public.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _key(kind: str | None, data: object) -> str:
    if kind is None or not isinstance(data, Mapping):
        return ""
    noun = kind.partition(".")[0]
    return key(noun, data.get(f"{noun}_id")) or key(noun, data.get("id"))


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
