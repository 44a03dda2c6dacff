"""Persona: `t=...,v1=...` over `{t}.{body}`. No library of its own for Python."""

from __future__ import annotations

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.signer import Stamp

SIGNER = hmac_signer(
    header="Persona-Signature",
    mark="v1=",
    separator=",",
    content=lambda request, stamp: f"{stamp}.".encode() + request.body,
    stamp=Stamp(pair="t"),
    secret="wbhsec_7c1f0e9d-8b7a-6c5d-4e3f-2a1b0c9d8e7f",
    other_secret="wbhsec_00000000-8b7a-6c5d-4e3f-2a1b0c9d8e7f",
    bodies=payloads("persona"),
)
