"""Twilio's signature: over the URL and the fields of the form, sorted; or over a URL that holds the body's hash.

Sources: twilio-python 9.13.0 and twilio-node 6.2.0 (order, repeated fields, ports, JSON bodies, the header that announces
another hash); Twilio's "Webhooks security".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from urllib.parse import quote_plus

from ingest.adapters.base import RefusedError, Request, same
from ingest.adapters.splitting import FORM, form, is_form
from ingest.adapters.values import query
from ingest.adapters.verifier import Draft
from tidegate import jsontext
from tidegate.errors import UsageError

SIGNATURE = "X-Twilio-Signature"
SETTINGS = "X-Twilio-Webhooks-Signature-Settings"
BODY_HASH = "bodySHA256"
"""The parameter of the URL that Twilio adds where the body is no form."""

_HASHES = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)((?:[^/?#@]*@)?)(\[[^\]/?#]*\]|[^:/?#]*)((?::[^/?#]*)?)")
"""Of a URL: scheme, user, host and port; an IPv6 address holds colons in its brackets."""
_LIKELY = (
    "another auth token, or the URL or the form was changed on its way: compare the account's auth token, and public_url "
    "with the URL that Twilio calls"
)


class TwilioVerifier:
    """``secrets``: auth tokens, or the secrets of shared keys. No time is signed."""

    secret_headers: frozenset[str] = frozenset({SIGNATURE.lower()})

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [secret.encode() for secret in secrets]

    def is_borne(self, request: Request) -> bool:
        """Tell whether the header is there."""
        return bool(request.values(SIGNATURE.lower()))

    def verify(self, request: Request, now_seconds: float) -> int:
        """Return which secret makes the signature, for the URL with or without its port: Twilio signs either."""
        given = request.header(SIGNATURE.lower())
        if not given:
            raise RefusedError("missing_header", f"{SIGNATURE} is missing or empty: does a proxy drop it?")
        name = _hash_name(request)
        fields = _signed_fields(request)
        urls = spellings(request.url)
        for index, key in enumerate(self._keys):
            if any(same(_made(key, url, fields, name), given) for url in urls):
                return index
        raise RefusedError("bad_signature", _LIKELY)

    def scheme(self, request: Request) -> str:
        """Return the hash, `none` without the header, `unknown` where another hash is announced."""
        if not self.is_borne(request):
            return "none"
        try:
            return f"hmac-{_hash_name(request)}"
        except RefusedError:
            return "unknown"

    def signed_time(self, request: Request) -> str | None:
        """Return None: no time is signed."""
        return None

    def signed_seconds(self, request: Request) -> float | None:
        """Return None: no time is signed."""
        return None

    def sign(self, draft: Draft) -> None:
        """Sign a form; a JSON object becomes one. Other JSON needs its hash in the URL, which is added by nobody here."""
        if not is_form(draft.request()) and BODY_HASH not in draft.url:
            draft.headers[:] = [pair for pair in draft.headers if pair[0].lower() != "content-type"]
            draft.headers.insert(0, ("Content-Type", FORM))
        if is_form(draft.request()) and draft.body.lstrip().startswith(b"{"):
            draft.body = _as_form(draft.body)
        try:
            made = _made(self._keys[0], draft.url, _signed_fields(draft.request()), "sha1")
        except RefusedError as error:
            raise UsageError(f"cannot be signed: {error.detail}") from None
        draft.headers.append((SIGNATURE, made))

    def without_secret(self, body: bytes) -> bytes:
        """Return ``body``: nothing is in it."""
        return body


def spellings(url: str) -> list[str]:
    """Return ``url`` as it is, and with its port taken off, or with the port that its scheme has where it names none."""
    found = _AUTHORITY.match(url)
    if found is None:
        return [url]
    scheme, user, host, port = found.groups()
    other = "" if port else ":443" if scheme.lower() == "https://" else ":80"
    return [url, f"{scheme}{user}{host}{other}{url[found.end() :]}"]


def _hash_name(request: Request) -> str:
    """Return the hash that is announced: SHA-1 where nothing is, as with the auth token."""
    for part in (request.header(SETTINGS.lower()) or "").split(","):
        name, equals, value = part.partition("=")
        if equals and name.strip() == "algorithm" and value.strip():
            known = _HASHES.get(value.strip().upper())
            if known is None:
                raise RefusedError("wrong_scheme", f"{SETTINGS} announces none of {', '.join(_HASHES)}")
            return known
    return "sha1"


def _signed_fields(request: Request) -> bytes:
    """Return what is signed after the URL: names and values of a form. Of any other body the URL holds the hash.

    A form that adds nothing is looked at like any other body, where the URL holds a hash: else whoever has seen a request
    could send it again with nothing in it.
    """
    fields = form(request.body) if is_form(request) else None
    signed = "".join(name + value for name, value in sorted(set(fields or ()))).encode()
    if signed:
        return signed
    expected = query(request.url).get(BODY_HASH)
    if expected is None:
        if (request.body and fields is None) or BODY_HASH in request.url:
            raise RefusedError(
                "malformed_signature", f"no form, and the URL holds no {BODY_HASH}, or several: does a proxy cut it?"
            )
    elif not same(hashlib.sha256(request.body).hexdigest(), expected):
        raise RefusedError("bad_signature", f"the body is not the one that {BODY_HASH} in the URL is the hash of")
    return b""


def _made(key: bytes, url: str, fields: bytes, name: str) -> str:
    return base64.b64encode(hmac.digest(key, _bytes(url) + fields, name)).decode()


def _bytes(url: str) -> bytes:
    try:
        return url.encode("latin-1")  # as it was decoded
    except UnicodeEncodeError:
        return url.encode("utf-8", "surrogatepass")


def _as_form(body: bytes) -> bytes:
    try:
        held = jsontext.loads(body)
    except jsontext.NotJsonError as error:
        raise UsageError(f"Twilio sends a form: give one, or a JSON object of texts ({error})") from None
    if not isinstance(held, dict):
        raise UsageError("Twilio sends a form: give one, or a JSON object of texts")
    try:
        pairs = [
            (name, value if isinstance(value, str) else json.dumps(value))
            for name, values in held.items()
            for value in (values if isinstance(values, list) else [values])
        ]
        return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs).encode()
    except (TypeError, UnicodeEncodeError):  # a number that Python cannot write, a lone surrogate
        raise UsageError("this JSON object cannot be written as the form that Twilio sends") from None
