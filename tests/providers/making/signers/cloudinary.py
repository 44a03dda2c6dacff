"""Cloudinary: a plain SHA-1 over body, time and secret. Its library verifies, up to two hours back and any time ahead."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from tests.providers.making.hmacs import hashed, hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request
from tests.providers.making.signer import AT, Case, Signer, Stamp

library = import_module("cloudinary")
utils = import_module("cloudinary.utils")
HEADER, TIMESTAMP = "X-Cld-Signature", "X-Cld-Timestamp"


def sign(request: Request, secret: str, stamp: str) -> Request:
    made = hashed("sha1", request.body + stamp.encode() + secret.encode()).hex()
    return request.with_header(TIMESTAMP, stamp).with_header(HEADER, made)


def accepts(request: Request, secret: str) -> bool:
    library.config(api_secret=secret)
    given, stamp = request.value(HEADER), request.value(TIMESTAMP)
    return bool(utils.verify_notification_signature(request.body.decode(), stamp, given, algorithm="sha1"))


def more(signer: Signer) -> Iterator[Case]:
    good = signer.signed()
    long = hashed("sha256", good.body + str(AT).encode() + signer.secret.encode()).hex()
    sha256 = {"options": {"signature": {"hash": "sha256"}}}
    yield Case(
        "SHA-256, as the account is set", good.with_header(HEADER, long), valid=True, is_asked=False, also=sha256
    )
    yield Case("SHA-256, and the account is not set so", good.with_header(HEADER, long))
    bare = hashed("sha1", good.body + str(AT).encode()).hex()
    yield Case("a hash that anybody can make, without the secret", good.with_header(HEADER, bare))


SIGNER = hmac_signer(
    header=HEADER,
    stamp=Stamp(header=TIMESTAMP, old_seconds=7200),
    secret="abcd1234EFGH5678ijkl9012MNO",
    other_secret="0000000000000000000000other",
    bodies=payloads("cloudinary"),
    sign=sign,
    more=more,
    accepts=accepts,
    asked="cloudinary",
)
