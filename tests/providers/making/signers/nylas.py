"""Nylas: HMAC over the body. Its library for Python verifies no webhooks."""

from __future__ import annotations

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads

SIGNER = hmac_signer(
    header="X-Nylas-Signature",
    secret="nylas-webhook-secret-0815",
    other_secret="another-webhook-secret",
    bodies=payloads("nylas"),
)
