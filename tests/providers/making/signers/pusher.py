"""Pusher Channels: HMAC over the body, the time in the body. Its library verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request
from tests.providers.making.signer import Stamp

library = import_module("pusher")
HEADER, KEY = "X-Pusher-Signature", "app-key"


def accepts(request: Request, secret: str) -> bool:
    client = library.Pusher(app_id="1", key=KEY, secret=secret)
    return bool(client.validate_webhook(request.value("X-Pusher-Key"), request.value(HEADER), request.body.decode()))


SIGNER = hmac_signer(
    header=HEADER,
    stamp=Stamp(unit="ms"),
    secret="7ad3773142a6692b25b8",
    other_secret="00000000000000000000",
    bodies=payloads("pusher", holds_stamp=True),
    accepts=accepts,
    asked="pusher",
)
