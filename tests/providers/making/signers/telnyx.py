"""Telnyx: Ed25519 over `{timestamp}|{body}`. Its library verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.payloads import payloads
from tests.providers.making.public_keys import ed25519_key, public_key_signer
from tests.providers.making.request import Request
from tests.providers.making.signer import Stamp

library = import_module("telnyx.lib.webhook_verification")


def accepts(request: Request, secret: str) -> bool:
    library.verify_webhook_signature(request.body, request.mapping(), secret)
    return True


SIGNER = public_key_signer(
    header="Telnyx-Signature-Ed25519",
    private=ed25519_key("1f2e3d4c5b6a79880716253443526170f0e1d2c3b4a5968778695a4b3c2d1e0f"),
    other=ed25519_key("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
    content=lambda request, stamp: f"{stamp}|".encode() + request.body,
    stamp=Stamp(header="Telnyx-Timestamp"),
    bodies=payloads("telnyx"),
    accepts=accepts,
    asked="telnyx",
)
