"""Retell AI: `v=...,d=...` over body and milliseconds. Its library signs and verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request
from tests.providers.making.signer import Stamp

library = import_module("retell.lib.webhook_auth")
HEADER = "X-Retell-Signature"


def sign(request: Request, secret: str, stamp: str) -> Request:
    return request.with_header(HEADER, library.symmetric["sign"](request.body.decode(), secret, stamp))


def accepts(request: Request, secret: str) -> bool:
    return bool(library.verify(request.body.decode(), secret, request.value(HEADER)))


SIGNER = hmac_signer(
    header=HEADER,
    mark="d=",
    separator=",",
    content=lambda request, stamp: request.body + stamp.encode(),
    stamp=Stamp(pair="v", unit="ms"),
    secret="key_1ffdb9717f1b47bbb0d7ab8c1a9e",
    other_secret="key_000000000000000000000000other",
    bodies=payloads("retell"),
    sign=sign,
    accepts=accepts,
    made_by="retell-sdk",
    asked="retell-sdk",
)
