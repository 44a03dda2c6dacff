"""Polar: the scheme of Standard Webhooks, but the secret's text is the key. Its library verifies, and tries both keys."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.request import Request
from tests.providers.making.signature_lists import listing_signer

library = import_module("polar.webhooks")


def accepts(request: Request, secret: str) -> bool:
    library._verify_signature(request.body.decode(), request.mapping(), secret)
    return True


SIGNER = listing_signer(
    "polar",
    secret="polar_whs_ovyN6cPrTv56AApvzCaJno08SSmGJmgbWilb33N2JuK",
    other_secret="polar_whs_000000000000000000000000000000000000000other",
    key=str.encode,
    accepts=accepts,
    asked="polar-sdk",
)
