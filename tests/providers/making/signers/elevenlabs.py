"""ElevenLabs: `t=...,v0=...` over `{t}.{body}`. Its library verifies, up to half an hour back and any time ahead."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request
from tests.providers.making.signer import Stamp

library = import_module("elevenlabs.webhooks_custom")
HEADER = "ElevenLabs-Signature"


def accepts(request: Request, secret: str) -> bool:
    library.WebhooksClient.construct_event(None, request.body.decode(), request.value(HEADER), secret)
    return True


SIGNER = hmac_signer(
    header=HEADER,
    mark="v0=",
    separator=",",
    content=lambda request, stamp: f"{stamp}.".encode() + request.body,
    stamp=Stamp(pair="t", old_seconds=1800),
    secret="wsec_8f1d2c3b4a59687766554433221100ff",
    other_secret="wsec_00000000000000000000000000000000",
    bodies=payloads("elevenlabs"),
    accepts=accepts,
    asked="elevenlabs",
)
