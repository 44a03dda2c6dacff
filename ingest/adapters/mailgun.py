"""Mailgun's signature: a member of the body, over a time and a token. What happened is not signed.

Sources: Mailgun's "Securing webhooks" (what is signed, the token's length and single use, `parent-signature` of events of
sub-accounts); django-anymail 15.2 agrees on the bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ingest.adapters.base import RefusedError, Request, same
from ingest.adapters.stamps import LOOKED_INTO_BYTES_MAX, Stamp
from ingest.adapters.verifier import Draft
from tidegate import jsontext
from tidegate.errors import UsageError

_MEMBER = "signature"
_OF_PARENT = "parent-signature"
_QUOTED = b'"signature"'
_TOKEN_CHARS = 50
_TOKEN_CHARS_MAX = 200
"""Four times what Mailgun sends. The token is the event's id, and goes into an index."""
_READER = jsontext.Holding(_MEMBER)
_LIKELY = "another key: compare it with the HTTP webhook signing key, which is not the API key"


class _Signed(NamedTuple):
    timestamp: str
    token: str
    signatures: list[str]


class MailgunVerifier:
    """``secrets``: HTTP webhook signing keys, of the account that sends or of its parent."""

    secret_headers: frozenset[str] = frozenset()

    def __init__(self, stamp: Stamp, secrets: Sequence[str]) -> None:
        self._stamp = stamp
        self._keys = [secret.encode() for secret in secrets]

    def is_borne(self, request: Request) -> bool:
        """Tell it by a search: to parse the body of everybody we refuse would be their weapon."""
        return _QUOTED in request.body

    def verify(self, request: Request, now_seconds: float) -> int:
        """Return which key makes the signature, or the one that the parent account's key makes."""
        signed = _read(request.body)
        self._stamp.check(signed.timestamp, now_seconds)
        for index, key in enumerate(self._keys):
            expected = _made(key, signed.timestamp, signed.token)
            if any(same(expected, given) for given in signed.signatures):
                return index
        raise RefusedError("bad_signature", _LIKELY)

    def scheme(self, request: Request) -> str:
        """Return `body signature` or `none`."""
        return "body signature" if self.is_borne(request) else "none"

    def signed_time(self, request: Request) -> str | None:
        """Return the timestamp as the body holds it."""
        try:
            return _read(request.body).timestamp
        except RefusedError:
            return None

    def signed_seconds(self, request: Request) -> float | None:
        """Return the same as Unix seconds."""
        if len(request.body) > LOOKED_INTO_BYTES_MAX:
            return None
        text = self.signed_time(request)
        return None if text is None else self._stamp.seconds(text)

    def sign(self, draft: Draft) -> None:
        """Put the signature into the body, which must be a JSON object; its token is made of the message's id."""
        try:
            others, _, rest = jsontext.cut(draft.body, _MEMBER)
        except jsontext.NotJsonError as error:
            raise UsageError(f"this provider's body is a JSON object: {error}") from None
        timestamp = self._stamp.of(draft.now_seconds)
        token = hashlib.sha256(draft.message_id.encode()).hexdigest()[:_TOKEN_CHARS]
        block = {"timestamp": timestamp, "token": token, _MEMBER: _made(self._keys[0], timestamp, token)}
        opened = rest.rstrip(b" \t\r\n")[:-1]
        draft.body = opened + f'{"," if others else ""}"{_MEMBER}":{json.dumps(block)}}}'.encode()

    def without_secret(self, body: bytes) -> bytes:
        """Return ``body``: nothing is in it."""
        return body


def _read(body: bytes) -> _Signed:
    """Return what the body says of its signature; each of it must be one text.

    Whatever is wrong is a fault of the signature, hence 401: to 406 Mailgun never comes again, and a stranger's body is no
    reason for that.
    """
    try:
        held = _READER.loads(body)
    except jsontext.NotJsonError as error:
        raise RefusedError("malformed_signature", f"the body holds no signature: {error}") from None
    if not isinstance(held, jsontext.Members):
        raise RefusedError(
            "missing_secret", f"the body holds no {_MEMBER}: is it Mailgun that calls, and no old route?"
        )
    found = [value for name, value in held if name == _MEMBER]
    if len(found) > 1 or not isinstance(found[0], jsontext.Members):
        raise RefusedError("malformed_signature", f"{_MEMBER} is not one object that holds a {_MEMBER}")
    block = dict(found[0])
    if len(block) < len(found[0]):  # two readers would take different ones
        raise RefusedError("malformed_signature", "the signature has a member twice: each is sent once")
    token = _text(block, "token")
    if len(token) > _TOKEN_CHARS_MAX:
        raise RefusedError("malformed_signature", "the token is longer than Mailgun's are")
    signatures = [_text(block, _MEMBER)]
    if block.get(_OF_PARENT) is not None:
        signatures.append(_text(block, _OF_PARENT))
    return _Signed(_text(block, "timestamp"), token, signatures)


def _text(block: Mapping[str, object], name: str) -> str:
    held = block.get(name)
    if not isinstance(held, str) or not held:
        raise RefusedError("malformed_signature", f"{name} of the signature is missing, or no text")
    return held


def _made(key: bytes, timestamp: str, token: str) -> str:
    return hmac.digest(key, (timestamp + token).encode("utf-8", "surrogatepass"), "sha256").hex()
