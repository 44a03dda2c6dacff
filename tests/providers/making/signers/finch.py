"""Finch: the scheme of Standard Webhooks under its own header names, secrets in bare base64. Its library verifies."""

from __future__ import annotations

import base64
from importlib import import_module

from tests.providers.making.request import Request
from tests.providers.making.signature_lists import listing_signer

library = import_module("finch")
CLIENT = library.Finch(access_token="none")


def accepts(request: Request, secret: str) -> bool:
    CLIENT.webhooks.verify_signature(request.body, request.mapping(), secret=secret)
    return True


SIGNER = listing_signer(
    "finch",
    header="Finch-Signature",
    id_header="Finch-Event-Id",
    timestamp="Finch-Timestamp",
    secret="5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH",
    other_secret="C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    key=base64.b64decode,
    accepts=accepts,
    asked="finch-api",
)
