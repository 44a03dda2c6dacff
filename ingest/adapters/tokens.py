"""Secrets that are sent as they are: in a header, in the URL's query, or as the password of HTTP basic authentication."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from urllib.parse import quote

from ingest.adapters.base import RefusedError, Request, same
from ingest.adapters.declaration import Signature
from ingest.adapters.values import query
from ingest.adapters.verifier import Draft, all_of, first_of
from tidegate.errors import UsageError

_ANOTHER = "another secret: compare it with the one given to the provider"


class HeaderToken:
    """A secret in a header, after a prefix where there is one; or `user:password` as Authorization: Basic."""

    def __init__(self, words: Signature, secrets: Sequence[str]) -> None:
        self._basic = words.kind == "basic"
        header = words.header or ("Authorization" if self._basic else "")
        self._names = all_of(header)
        self.secret_headers = frozenset(self._names)
        self._sent = first_of(header)
        self._prefix = "Basic " if self._basic else words.prefix
        if self._basic and not all(secret.partition(":")[2].strip() for secret in secrets):
            # Without a password it is `:` that lets in, as where a variable in `user:$PASSWORD` is not set.
            raise UsageError("a secret of this provider is `user:password`, as in the URL's https://user:password@host")
        self._tokens = [
            base64.b64encode(secret.encode()).decode() if self._basic else _as_received(secret) for secret in secrets
        ]

    def is_borne(self, request: Request) -> bool:
        """Tell whether the header is there."""
        return any(name in self._names for name, _ in request.headers)

    def verify(self, request: Request, now_seconds: float) -> int:
        """Return which secret the header holds. The clock is not asked: nothing is signed."""
        given = next(filter(None, map(request.header, self._names)), None)
        if given is None:
            raise RefusedError("missing_header", f"{self._sent} is missing or empty: does a proxy drop it?")
        # Schemes of Authorization are compared without case (RFC 9110, 11.1).
        start = given[: len(self._prefix)]
        if start != self._prefix and start.lower() != self._prefix.lower():
            raise RefusedError("wrong_scheme", f"{self._sent} does not begin with {self._prefix.strip()}")
        token = given[len(self._prefix) :]
        for index, expected in enumerate(self._tokens):
            if same(expected, token):
                return index
        raise RefusedError("bad_signature", _ANOTHER)

    def scheme(self, request: Request) -> str:
        """Return `basic` or `token`, `none` without the header."""
        return ("basic" if self._basic else "token") if self.is_borne(request) else "none"

    def signed_time(self, request: Request) -> str | None:
        """Return None: no time is signed."""
        return None

    def signed_seconds(self, request: Request) -> float | None:
        """Return None: no time is signed."""
        return None

    def sign(self, draft: Draft) -> None:
        """Add the header."""
        draft.headers.append((self._sent, self._prefix + self._tokens[0]))

    def without_secret(self, body: bytes) -> bytes:
        """Return ``body``: nothing is in it."""
        return body


class QueryToken:
    """A secret in the query of the URL that the provider was given."""

    secret_headers: frozenset[str] = frozenset()

    def __init__(self, words: Signature, secrets: Sequence[str]) -> None:
        self._name = words.query or ""
        self._tokens = list(secrets)

    def is_borne(self, request: Request) -> bool:
        """Tell whether the parameter is there, once."""
        return self._name in query(request.url)

    def verify(self, request: Request, now_seconds: float) -> int:
        """Return which secret the parameter is."""
        given = query(request.url).get(self._name)
        if not given:
            raise RefusedError(
                "missing_secret",
                f"the URL holds no {self._name}, or several: give the provider the URL with ?{self._name}=",
            )
        for index, expected in enumerate(self._tokens):
            if same(expected, given):
                return index
        raise RefusedError("bad_signature", _ANOTHER)

    def scheme(self, request: Request) -> str:
        """Return `token`, `none` without the parameter."""
        return "token" if self.is_borne(request) else "none"

    def signed_time(self, request: Request) -> str | None:
        """Return None: no time is signed."""
        return None

    def signed_seconds(self, request: Request) -> float | None:
        """Return None: no time is signed."""
        return None

    def sign(self, draft: Draft) -> None:
        """Add the parameter to the URL."""
        mark = "&" if "?" in draft.url else "?"
        draft.url += f"{mark}{quote(self._name, safe='')}={quote(self._tokens[0], safe='')}"

    def without_secret(self, body: bytes) -> bytes:
        """Return ``body``: nothing is in it."""
        return body


def _as_received(secret: str) -> str:
    """Return ``secret`` as a header's value is decoded."""
    return secret.encode().decode("latin-1")
