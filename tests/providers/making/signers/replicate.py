"""Replicate: Standard Webhooks. Its library verifies; the age only where it is told to."""

from __future__ import annotations

import base64
from importlib import import_module

from tests.providers.making.request import Request
from tests.providers.making.signature_lists import listing_signer

library = import_module("replicate.webhook")


def accepts(request: Request, secret: str) -> bool:
    library.Webhooks.validate(
        headers=request.mapping(),
        body=request.body.decode(),
        secret=library.WebhookSigningSecret(key=secret),
        tolerance=300,
    )
    return True


SIGNER = listing_signer(
    "replicate",
    secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    other_secret="whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    key=lambda secret: base64.b64decode(secret.removeprefix("whsec_")),
    accepts=accepts,
    asked="replicate",
)
