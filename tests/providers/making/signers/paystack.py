"""Paystack: HMAC by SHA-512 over the body. No library of its own for Python."""

from __future__ import annotations

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads

SIGNER = hmac_signer(
    header="X-Paystack-Signature",
    digest="sha512",
    secret="sk_test_0d1c2b3a49586776655443322110ffeeddccbbaa",
    other_secret="sk_test_000000000000000000000000000000000000other",
    bodies=payloads("paystack"),
)
