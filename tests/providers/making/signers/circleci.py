"""CircleCI: `v1=` and HMAC over the body, in a list. No library of its own for Python."""

from __future__ import annotations

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads

SIGNER = hmac_signer(
    header="Circleci-Signature",
    mark="v1=",
    separator=",",
    secret="circle-secret-token-0815",
    other_secret="another-secret-token",
    bodies=payloads("circleci"),
)
