"""EasyPost: `hmac-sha256-hex=` and HMAC over the body. Its library verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request

library = import_module("easypost.util")
HEADER = "X-Hmac-Signature"


def accepts(request: Request, secret: str) -> bool:
    library.validate_webhook(request.body, dict(request.headers), secret)
    return True


SIGNER = hmac_signer(
    header=HEADER,
    mark="hmac-sha256-hex=",
    secret="sample-webhook-secret-0815",
    other_secret="another-webhook-secret-0815",
    bodies=payloads("easypost"),
    accepts=accepts,
    asked="easypost",
    # With what stands before each they are more than any header may hold, and never come to be verified.
    leaves_out=frozenset({"a thousand signatures, none of them right"}),
)
