"""LINE: base64 of an HMAC over the body. Its library verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.bodies import Body, compact
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request

library = import_module("linebot.v3.webhook")
HEADER = "X-Line-Signature"


def accepts(request: Request, secret: str) -> bool:
    return bool(library.SignatureValidator(secret).validate(request.body.decode(), request.value(HEADER)))


SIGNER = hmac_signer(
    header=HEADER,
    encoding="base64",
    secret="8c570fa6dd201bb328f1c1eac23a96d8",
    other_secret="00000000000000000000000000000000",
    bodies=[
        *payloads("line"),
        Body("the test of the console (no event)", compact({"destination": "U1", "events": []})),
    ],
    accepts=accepts,
    asked="line-bot-sdk",
)
