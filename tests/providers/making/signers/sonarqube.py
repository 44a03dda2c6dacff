"""SonarQube: HMAC over the body. No library of its own for Python."""

from __future__ import annotations

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads

SIGNER = hmac_signer(
    header="X-Sonar-Webhook-HMAC-SHA256",
    secret="a-secret-of-sixteen-or-more",
    other_secret="another-secret-of-sixteen",
    bodies=payloads("sonarqube"),
)
