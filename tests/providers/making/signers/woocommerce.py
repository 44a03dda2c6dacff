"""WooCommerce: base64 of an HMAC over the body. No library of its own for Python verifies webhooks."""

from __future__ import annotations

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads

SIGNER = hmac_signer(
    header="X-WC-Webhook-Signature",
    encoding="base64",
    secret="wc-webhook-secret-0815",
    other_secret="another-webhook-secret",
    bodies=payloads("woocommerce"),
)
