"""Razorpay: HMAC over the body. Its library verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request

library = import_module("razorpay.utility")
HEADER = "X-Razorpay-Signature"


def accepts(request: Request, secret: str) -> bool:
    return bool(library.Utility().verify_webhook_signature(request.body.decode(), request.value(HEADER), secret))


SIGNER = hmac_signer(
    header=HEADER,
    secret="a-secret-of-the-webhook-0815",
    other_secret="another-secret-of-it-0815",
    bodies=payloads("razorpay"),
    accepts=accepts,
    asked="razorpay",
)
