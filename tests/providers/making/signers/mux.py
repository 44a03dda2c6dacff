"""Mux: `t=...,v1=...` over `{t}.{body}`. Its library for Python verifies no webhooks."""

from __future__ import annotations

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.signer import Stamp

SIGNER = hmac_signer(
    header="Mux-Signature",
    mark="v1=",
    separator=",",
    content=lambda request, stamp: f"{stamp}.".encode() + request.body,
    stamp=Stamp(pair="t"),
    secret="mux-signing-secret-0815abc",
    other_secret="another-signing-secret",
    bodies=payloads("mux"),
)
