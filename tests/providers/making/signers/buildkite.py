"""Buildkite: `timestamp=...,signature=...` over `{timestamp}.{body}`. No library of its own for Python."""

from __future__ import annotations

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.signer import Stamp

SIGNER = hmac_signer(
    header="X-Buildkite-Signature",
    mark="signature=",
    separator=",",
    content=lambda request, stamp: f"{stamp}.".encode() + request.body,
    stamp=Stamp(pair="timestamp"),
    secret="30222eae9d9f4c1bb1b1f0f1e2d3c4b5",
    other_secret="00000000000000000000000000000000",
    bodies=payloads("buildkite"),
)
