"""Coinbase Commerce: HMAC over the body. Its library verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request

library = import_module("coinbase_commerce.webhook")
HEADER = "X-CC-Webhook-Signature"


def accepts(request: Request, secret: str) -> bool:
    library.WebhookSignature.verify_sig_header(request.body.decode(), request.value(HEADER), secret)
    return True


SIGNER = hmac_signer(
    header=HEADER,
    secret="30291a20-1bd1-4d21-9a40-0a5ad2d1f3c5",
    other_secret="00000000-1bd1-4d21-9a40-0a5ad2d1f3c5",
    bodies=payloads("coinbase-commerce"),
    accepts=accepts,
    asked="coinbase-commerce",
)
