"""Dodo Payments: Standard Webhooks. Its library verifies, by the reference library."""

from __future__ import annotations

import base64
from importlib import import_module

from tests.providers.making.request import Request
from tests.providers.making.signature_lists import listing_signer

library = import_module("dodopayments")
CLIENT = library.DodoPayments(bearer_token="none")


def accepts(request: Request, secret: str) -> bool:
    CLIENT.webhooks.unwrap(request.body.decode(), headers=request.mapping(), key=secret)
    return True


SIGNER = listing_signer(
    "dodo-payments",
    secret="whsec_9aBcDeFgHiJkLmNoPqRsTuVwXyZ01234",
    other_secret="whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    key=lambda secret: base64.b64decode(secret.removeprefix("whsec_")),
    accepts=accepts,
    asked="dodopayments",
)
