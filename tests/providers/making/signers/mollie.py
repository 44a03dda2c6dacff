"""Mollie: `sha256=` and HMAC over the body. Its library verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request

library = import_module("mollie.utils.webhooks.signature_validator")
HEADER = "X-Mollie-Signature"


def accepts(request: Request, secret: str) -> bool:
    return bool(library.SignatureValidator.validate(request.body.decode(), secret, request.value(HEADER)))


SIGNER = hmac_signer(
    header=HEADER,
    mark="sha256=",
    secret="7c1f0e9d8b7a6c5d4e3f2a1b0c9d8e7f",
    other_secret="00000000000000000000000000000000",
    bodies=payloads("mollie"),
    accepts=accepts,
    asked="mollie-api-py",
)
