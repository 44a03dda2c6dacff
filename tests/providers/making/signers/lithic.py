"""Lithic: Standard Webhooks. Its library verifies, by the reference library."""

from __future__ import annotations

import base64
from importlib import import_module

from tests.providers.making.request import Request
from tests.providers.making.signature_lists import listing_signer

library = import_module("lithic")
CLIENT = library.Lithic(api_key="none")


def accepts(request: Request, secret: str) -> bool:
    CLIENT.webhooks.verify_signature(request.body, request.mapping(), secret=secret)
    return True


SIGNER = listing_signer(
    "lithic",
    secret="whsec_8KdYr2iO1mQz5bTjZ0vXnW3cFhL7sPgA",
    other_secret="whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    key=lambda secret: base64.b64decode(secret.removeprefix("whsec_")),
    accepts=accepts,
    asked="lithic",
)
