"""Meta: `sha256=` and HMAC over the body. No library of its own for Python."""

from __future__ import annotations

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads

SIGNER = hmac_signer(
    header="X-Hub-Signature-256",
    mark="sha256=",
    secret="e1b2c3d4f5a6978812345678deadbeef",
    other_secret="00000000000000000000000000000000",
    bodies=payloads("meta"),
)
