"""Whop: the scheme of Standard Webhooks, but the secret's text is the key. Its library verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.request import Request
from tests.providers.making.signature_lists import listing_signer

library = import_module("whop_sdk.lib.verify_webhook")


def accepts(request: Request, secret: str) -> bool:
    library.unwrap(request.body, headers=request.mapping(), key=secret)
    return True


SIGNER = listing_signer(
    "whop",
    secret="ws_4c2f1e0d9b8a7c6d5e4f3a2b1c0d9e8f",
    other_secret="ws_00000000000000000000000000000000",
    key=str.encode,
    accepts=accepts,
    asked="whop-sdk",
)
