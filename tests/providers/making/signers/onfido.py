"""Onfido: HMAC over the body. Its library verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request

library = import_module("onfido.webhook_event_verifier")
HEADER = "X-SHA2-Signature"


def accepts(request: Request, secret: str) -> bool:
    text, given = request.body.decode(), request.value(HEADER)
    try:
        library.WebhookEventVerifier(secret).read_payload(text, given)
    except library.OnfidoInvalidSignatureError:
        return False
    except ValueError:  # authentic, and of a type that its models do not know
        return given.isascii()
    return True


SIGNER = hmac_signer(
    header=HEADER,
    secret="u7SLPqPmEaHO7I0h0SQe9Xw6bC2yRzVd",
    other_secret="00000000000000000000000000000000",
    bodies=payloads("onfido"),
    accepts=accepts,
    asked="onfido-python",
)
