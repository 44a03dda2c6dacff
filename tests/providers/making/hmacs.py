"""Providers that sign with an HMAC, or a plain hash, in a header: most of them. By the standard library alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any

from tests.providers.making.bodies import Body
from tests.providers.making.body_changes import body_changes, url_changes
from tests.providers.making.header_changes import header_changes
from tests.providers.making.request import Request
from tests.providers.making.signer import Encoding, Proof, Signer, Stamp
from tests.providers.making.stamp_changes import stamp_changes

Content = Callable[[Request, str], bytes]
"""Of a request and its timestamp's text: what is signed."""


def hmac_signer(
    *,
    header: str,
    bodies: Sequence[Body],
    secret: str,
    other_secret: str,
    mark: str = "",
    encoding: Encoding = "hex",
    digest: str = "sha256",
    content: Content = lambda request, stamp: request.body,
    key: Callable[[str], bytes] = str.encode,
    stamp: Stamp | None = None,
    separator: str = "",
    signs_url: bool = False,
    **more: Any,
) -> Signer:
    """Return the signer of a provider that has HMAC(``key``(secret), ``content``) in ``header``, behind ``mark``.

    Where ``stamp`` is a pair of that header, the header is `pair=time`, ``separator``, ``mark`` and the signature. ``more``
    goes to Signer; ``hostile`` in it is added to what is usual.
    """

    def sign(request: Request, with_secret: str, time: str) -> Request:
        made = encoded(hmac.digest(key(with_secret), content(request, time), digest), encoding)
        value = f"{mark}{made}"
        if stamp is not None and stamp.pair:
            value = f"{stamp.pair}={time}{separator}{value}"
        elif stamp is not None and stamp.header:
            request = request.with_header(stamp.header, time)
        return request.with_header(header, value)

    return Signer(
        secret=secret,
        other_secret=other_secret,
        bodies=bodies,
        sign=more.pop("sign", sign),
        proof=Proof(header, mark, separator, encoding),
        stamp=stamp,
        hostile=[*usual(stamp, signs_url=signs_url), *more.pop("hostile", ())],
        **more,
    )


def usual(stamp: Stamp | None, *, signs_url: bool = False) -> list[Any]:
    """Return what is tried on every signature in a header over body, time and URL."""
    found: list[Any] = [header_changes, body_changes]
    if stamp is not None:
        found.append(stamp_changes)
    if signs_url:
        found.append(url_changes)
    return found


def encoded(raw: bytes, encoding: Encoding) -> str:
    """Return ``raw`` as text; base64url without padding."""
    if encoding == "hex":
        return raw.hex()
    if encoding == "base64":
        return base64.b64encode(raw).decode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def hashed(digest: str, content: bytes) -> bytes:
    """Return the plain hash, for the few that have the secret in what is hashed."""
    return hashlib.new(digest, content).digest()
