"""Lemon Squeezy: HMAC over the body. No library of its own for Python."""

from __future__ import annotations

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads

SIGNER = hmac_signer(
    header="X-Signature",
    secret="a-signing-secret-0815",
    other_secret="another-signing-secret",
    bodies=payloads("lemonsqueezy"),
)
