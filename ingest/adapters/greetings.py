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
from ingest.adapters.values import Context
from tidegate import jsontext

BODY_BYTES_MAX = 65_536
"""Of a handshake. What is larger is an event: it is not parsed before it is known who sent it."""
ECHO_CHARS_MAX = 1024
"""Of what a stranger sent and gets back."""
_Answered = Callable[[Context, bytes], Any]
"""Of where it is taken from, and the secret."""
_NOT_IN_HEADERS = re.compile(r"[^\x20-\x7e]")
_PUT_TOGETHER = re.compile(r"([^{}]*)\{(hmac-(?:hex|base64):[^{}]+)\}([^{}]*)")
_HASHED = re.compile(r"[A-Za-z0-9+/_.:~-]+={0,2}")
"""What is hashed for whoever asks. Were it any text, he would ask for the hash of a body, which is an event's signature."""


class Greeting:
    """One kind of handshake. ``secret`` is the source's handshake_secret."""

    def __init__(self, words: Handshake, secret: str | None) -> None:
        self.method = words.method
        self.signed = words.signed and words.method == "POST"
        self._of_head = _conditions(words, of_head=True)
        self._of_body = _conditions(words, of_head=False)
        self._hints = _hints(words)
        self._presented = values.compiled(words.secret) if words.secret is not None else None
        self._secret = secret
        self._status = words.status
        self._text = _answered(words.text) if words.text is not None else None
        self._content_type = words.content_type
        self._json = {name: _answered(value) for name, value in words.json_.items()}
        self._headers = {name: _answered(value) for name, value in words.headers.items()}

    def is_meant(self, request: Request) -> Context | None:
        """Return what answers are taken from when ``request`` is this handshake, else None. Never raises."""
        if request.method != self.method or len(request.body) > BODY_BYTES_MAX:
            return None
        for hint in self._hints:
            if hint not in request.body:
                return None  # nearly always: no event is parsed twice
        context = Context(request)
        try:
            if not all(is_so(context) for is_so in self._of_head):
                return None
        except RefusedError:  # a header that occurs twice
            return None
        if request.body:
            try:
                context.item = context.root = jsontext.loads(request.body)
                context.payload = request.body
            except jsontext.NotJsonError:
                if self._of_body:
                    return None  # else its head said enough: a ping may be a form
        try:
            return context if all(is_so(context) for is_so in self._of_body) else None
        except RefusedError:  # or in the head or in the body, and in the head twice
            return None

    def reply(self, context: Context, key: bytes) -> Reply:
        """Return the answer; ``key`` is the secret that hashes in it are made with.

        Raises RefusedError where the secret, or what is to be echoed, is not there.
        """
        if self._presented is not None:
            given = self._presented(context)
            if self._secret is None:
                raise RefusedError("missing_secret", "a handshake came, and the source has no handshake_secret")
            if not isinstance(given, str) or not same(self._secret, given):
                raise RefusedError("bad_signature", "the handshake presents another secret than handshake_secret")
        headers = tuple((name, _header(_needed(value(context, key)))) for name, value in self._headers.items())
        if self._json:
            body = json.dumps({name: _needed(value(context, key)) for name, value in self._json.items()})
            return Reply(self._status, "application/json", body.encode(), headers)
        if self._text is not None:
            return Reply(self._status, self._content_type, _needed(self._text(context, key)).encode(), headers)
        return Reply(self._status, "", b"", headers)


def _conditions(words: Handshake, *, of_head: bool) -> list[Callable[[Context], bool]]:
    """Return what must be so: in the head, or in the body, which is parsed only when the head allows it."""
    return [
        _condition(values.compiled(value), expected)
        for value, expected in words.when.items()
        if _is_of_head(value) == of_head
    ]


def _condition(value: values.Value, expected: str) -> Callable[[Context], bool]:
    def is_so(context: Context) -> bool:
        held = value(context)
        if type(held) is int:  # not isinstance: True is no number
            held = str(held)
        return held == expected if expected else held is not None

    return is_so


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


def _answered(text: str) -> _Answered:
    parts = _PUT_TOGETHER.fullmatch(text)
    if parts is not None:
        before, behind, within = parts[1], parts[3], _answered(parts[2])
        return lambda context, key: before + _needed(within(context, key)) + behind
    for name, encoded in _KEYED.items():
        if text.startswith(f"{name}:"):
            return _keyed(values.compiled(text[len(name) + 1 :]), encoded)
    found = values.compiled(text)
    return lambda context, key: found(context)


def _keyed(found: values.Value, encoded: Callable[[bytes], str]) -> _Answered:
    def made(context: Context, key: bytes) -> str:
        asked = _needed(found(context))
        if not _HASHED.fullmatch(asked):
            raise RefusedError("malformed_body", "a handshake asks for the hash of what is no token")
        return encoded(hmac.digest(key, asked.encode(), "sha256"))

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
