"""GoCardless: HMAC over the body. Its library verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request

library = import_module("gocardless_pro.webhooks")
HEADER = "Webhook-Signature"


def accepts(request: Request, secret: str) -> bool:
    library.parse(request.body.decode(), secret, request.value(HEADER))
    return True


SIGNER = hmac_signer(
    header=HEADER,
    secret="ED7D658C-D8EB-4941-948B-3973214F2D49",
    other_secret="00000000-D8EB-4941-948B-3973214F2D49",
    bodies=payloads("gocardless"),
    accepts=accepts,
    asked="gocardless-pro",
)
