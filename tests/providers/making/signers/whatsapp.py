"""WhatsApp Cloud API: `sha256=` and HMAC over the body. No library of its own for Python: pywa, of others, verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request

library = import_module("pywa.utils")
HEADER = "X-Hub-Signature-256"


def accepts(request: Request, secret: str) -> bool:
    return bool(library.webhook_updates_validator(secret, request.body, request.value(HEADER)))


SIGNER = hmac_signer(
    header=HEADER,
    mark="sha256=",
    secret="a1b2c3d4e5f60718293a4b5c6d7e8f90",
    other_secret="00000000000000000000000000000000",
    bodies=payloads("whatsapp"),
    accepts=accepts,
    asked="pywa",
)
