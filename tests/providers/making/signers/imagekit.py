"""ImageKit: the scheme of Standard Webhooks, but the secret's text is the key. Its library verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.request import Request
from tests.providers.making.signature_lists import listing_signer

library = import_module("imagekitio")
CLIENT = library.ImageKit(private_key="private_none")


def accepts(request: Request, secret: str) -> bool:
    CLIENT.webhooks.unwrap(request.body.decode(), headers=request.mapping(), key=secret)
    return True


SIGNER = listing_signer(
    "imagekit",
    secret="whsec_XeO2UNkfKMQnfJf7Qv1uNQ3bmZ8SYs6P",
    other_secret="whsec_000000000000000000000000000other",
    key=str.encode,
    accepts=accepts,
    asked="imagekitio",
)
