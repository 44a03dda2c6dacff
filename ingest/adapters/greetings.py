"""Handshakes: requests that bring no event, and what they are answered."""

from __future__ import annotations

import binascii
import hmac
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from ingest.adapters import values
from ingest.adapters.base import RefusedError, Reply, Request, same
from ingest.adapters.declaration import Handshake
from ingest.adapters.values import Context, WrongWordError
from tidegate import jsontext

BODY_BYTES_MAX = 65_536
"""Of a handshake. What is larger is an event: it is not parsed before it is known who sent it."""
ECHO_CHARS_MAX = 1024
"""Of what a stranger sent and gets back."""
_NOT_IN_HEADERS = re.compile(r"[^\x20-\x7e]")


class Greeting:
    """One kind of handshake. ``secret`` is the source's handshake_secret, ``key`` the first of its secrets."""

    def __init__(self, words: Handshake, key: bytes, secret: str | None) -> None:
        self.method = words.method
        self.signed = words.signed and words.method == "POST"
        when = [(value, values.compiled(value), expected) for value, expected in words.when.items()]
        self._of_head = [(found, expected) for value, found, expected in when if _is_of_head(value)]
        self._of_body = [(found, expected) for value, found, expected in when if not _is_of_head(value)]
        self._hints = _hints(words)
        self._presented = values.compiled(words.secret) if words.secret is not None else None
        self._secret = secret
        self._status = words.status
        self._text = _answered(words.text, key) if words.text is not None else None
        self._json = {name: _answered(value, key) for name, value in words.json_.items()}
        self._headers = {name: _answered(value, key) for name, value in words.headers.items()}
        if words.text is not None and words.json_:
            raise WrongWordError("a handshake is answered with text or with json")

    def is_meant(self, request: Request) -> Context | None:
        """Return what answers are taken from when ``request`` is this handshake, else None. Never raises."""
        if request.method != self.method or len(request.body) > BODY_BYTES_MAX:
            return None
        for hint in self._hints:
            if hint not in request.body:
                return None  # nearly always: no event is parsed twice
        context = Context(request)
        if not _holds(self._of_head, context):
            return None
        try:
            if self._of_body or (request.body and request.method == "POST"):
                context.item = context.root = jsontext.loads(request.body)
                context.payload = request.body
        except jsontext.NotJsonError:
            if self._of_body:
                return None
        return context if _holds(self._of_body, context) else None

    def reply(self, context: Context) -> Reply:
        """Return the answer. Raises RefusedError where the secret, or what is to be echoed, is not there."""
        if self._presented is not None:
            given = self._presented(context)
            if self._secret is None:
                raise RefusedError("missing_secret", "a handshake came, and the source has no handshake_secret")
            if not isinstance(given, str) or not same(self._secret, given):
                raise RefusedError("bad_signature", "the handshake presents another secret than handshake_secret")
        headers = tuple((name, _header(_needed(value(context)))) for name, value in self._headers.items())
        if self._json:
            body = json.dumps({name: _needed(value(context)) for name, value in self._json.items()})
            return Reply(self._status, "application/json", body.encode(), headers)
        if self._text is not None:
            return Reply(self._status, "text/plain; charset=utf-8", _needed(self._text(context)).encode(), headers)
        return Reply(self._status, "", b"", headers)


def _holds(conditions: Sequence[tuple[values.Value, str]], context: Context) -> bool:
    try:
        for value, expected in conditions:
            held = value(context)
            if held is None or (expected and held != expected):
                return False
    except RefusedError:  # a header that occurs twice
        return False
    return True


def _is_of_head(value: str) -> bool:
    """Tell whether ``value`` is nowhere in the body, and so costs next to nothing."""
    return all(part.strip().startswith(("header:", "query:")) for part in value.split(" | "))


def _hints(words: Handshake) -> Sequence[bytes]:
    """Return what a body must hold, as plain text, for this handshake to be meant."""
    if words.method != "POST":
        return ()
    return [
        expected.encode()
        for value, expected in words.when.items()
        if expected and not any(map(_is_of_head, value.split(" | "))) and json.dumps(expected) == f'"{expected}"'
    ]


def _answered(text: str, key: bytes) -> Callable[[Context], Any]:
    for name, encoded in _KEYED.items():
        if text.startswith(f"{name}:"):
            found = values.compiled(text[len(name) + 1 :])
            return _keyed(found, key, encoded)
    return values.compiled(text)


def _keyed(found: values.Value, key: bytes, encoded: Callable[[bytes], str]) -> Callable[[Context], Any]:
    def made(context: Context) -> str:
        return encoded(hmac.digest(key, _needed(found(context)).encode(), "sha256"))

    return made


def _needed(value: object) -> str:
    if type(value) is int:
        return str(value)
    if not isinstance(value, str) or not value or len(value) > ECHO_CHARS_MAX or not jsontext.is_storable(value):
        raise RefusedError("malformed_body", "a handshake without what is to be answered, or with too much of it")
    return value


def _header(text: str) -> str:
    if _NOT_IN_HEADERS.search(text):
        raise RefusedError("malformed_body", "a handshake whose answer is no header")
    return text


_KEYED: dict[str, Callable[[bytes], str]] = {
    "hmac-hex": bytes.hex,
    "hmac-base64": lambda raw: binascii.b2a_base64(raw, newline=False).decode(),
}
