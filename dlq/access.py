"""Who may come in: whoever has the admin token, as a bearer of the API or exchanged for a cookie in a browser."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable

from starlette.datastructures import Headers

SESSION = "tidegate_session"
SESSION_SECONDS = 12 * 3600
"""A night shift: whoever signed in at its start need not look for the token in the middle of it."""


class Access:
    """The token, and the sessions made from it. Sessions are kept nowhere: another token ends them all."""

    def __init__(self, token: str, clock: Callable[[], float] = time.time) -> None:
        self._token = token.encode()
        self._clock = clock

    def is_token(self, given: str) -> bool:
        """Tell whether ``given`` is the token, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token)

    def is_bearer(self, authorization: str | None) -> bool:
        """Tell whether an Authorization header carries the token."""
        scheme, _, given = (authorization or "").partition(" ")
        # Header values reach us decoded as Latin-1, whatever the client meant by its bytes.
        raw = given.strip().encode("latin-1", "replace")
        return scheme.lower() == "bearer" and hmac.compare_digest(raw, self._token)

    def new_session(self) -> str:
        """Return a cookie value that is good for SESSION_SECONDS."""
        until = str(int(self._clock()) + SESSION_SECONDS)
        return f"{until}.{self._sign(until)}"

    def is_session(self, cookie: str | None) -> bool:
        """Tell whether a cookie value was made by `new_session`, of this token, and not too long ago."""
        until, _, signature = (cookie or "").partition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), self._sign(until).encode()):
            return False
        return int(until) > self._clock()

    def _sign(self, until: str) -> str:
        return hmac.digest(self._token, f"tidegate session {until}".encode("utf-8", "replace"), "sha256").hex()


def is_same_origin(headers: Headers) -> bool:
    """Tell whether a form was sent from a page of ours: a cookie alone also comes along from somebody else's.

    Browsers leave Sec-Fetch-Site out on plain http (but for localhost), and send Origin with every POST.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin", "")
    # Without the scheme: a proxy that ends TLS hands us http for what the browser calls https.
    return origin.partition("://")[2].lower() == headers.get("host", "").lower() != ""
