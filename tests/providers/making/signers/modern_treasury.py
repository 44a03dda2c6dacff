"""Modern Treasury: HMAC over the body. Its library makes signatures, and compares them."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request

library = import_module("modern_treasury")
CLIENT = library.ModernTreasury(api_key="none", organization_id="none")
HEADER = "X-Signature"


def sign(request: Request, secret: str, stamp: str) -> Request:
    return request.with_header(HEADER, CLIENT.webhooks.get_signature(request.body.decode(), key=secret))


def accepts(request: Request, secret: str) -> bool:
    return bool(CLIENT.webhooks.validate_signature(request.body.decode(), request.mapping(), key=secret))


SIGNER = hmac_signer(
    header=HEADER,
    secret="whk_5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d",
    other_secret="whk_00000000000000000000000000000000",
    bodies=payloads("modern-treasury"),
    sign=sign,
    made_by="modern-treasury",
    accepts=accepts,
    asked="modern-treasury",
)
