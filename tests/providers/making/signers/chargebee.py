"""Chargebee: HTTP basic authentication. Nothing is signed."""

from __future__ import annotations

from tests.providers.making.payloads import payloads
from tests.providers.making.tokens import basic_signer

SIGNER = basic_signer(
    secret="tide:Correct-Horse-9",
    other_secret="tide:battery-staple",
    bodies=payloads("chargebee"),
)
