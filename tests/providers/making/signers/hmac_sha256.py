"""Any sender with an HMAC over the body."""

from __future__ import annotations

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads

SIGNER = hmac_signer(
    header="X-Hub-Signature",
    mark="sha256=",
    secret="a-secret-that-we-made-up",
    other_secret="another-secret-made-up",
    bodies=payloads("hmac-sha256"),
)
