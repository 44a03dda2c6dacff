"""Increase: the scheme of Standard Webhooks, but the secret's text is the key. Its library verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.request import Request
from tests.providers.making.signature_lists import listing_signer

library = import_module("increase")


def accepts(request: Request, secret: str) -> bool:
    # The secret as the client's own, which it takes as text; an argument would be read as base64.
    client = library.Increase(api_key="none", webhook_secret=secret)
    client.events.unwrap(request.body.decode(), headers=request.mapping())
    return True


SIGNER = listing_signer(
    "increase",
    secret="a-shared-secret-of-the-subscription-0",
    other_secret="another-secret-of-the-subscription-0",
    key=str.encode,
    accepts=accepts,
    asked="increase",
)
