"""Sanity: `t=...,v1=...` over `{t}.{body}`, milliseconds and base64url. Its library is for Node."""

from __future__ import annotations

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.signer import Stamp

SIGNER = hmac_signer(
    header="Sanity-Webhook-Signature",
    mark="v1=",
    separator=",",
    encoding="base64url",
    content=lambda request, stamp: f"{stamp}.".encode() + request.body,
    stamp=Stamp(pair="t", unit="ms", old_seconds=86_400),
    secret="a-secret-of-the-webhook-0815",
    other_secret="another-secret-of-it",
    bodies=payloads("sanity"),
)
