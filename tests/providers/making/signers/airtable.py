"""Airtable: `hmac-sha256=` and an HMAC over the body, the key in base64. The community's SDK verifies."""

from __future__ import annotations

import base64
from importlib import import_module

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.request import Request

webhook = import_module("pyairtable.models.webhook")
HEADER = "X-Airtable-Content-MAC"


def accepts(request: Request, secret: str) -> bool:
    webhook.WebhookNotification.from_request(request.body.decode(), request.value(HEADER), secret)
    return True


def _notification(hook: str, second: int, **held: object) -> dict[str, object]:
    return {
        "base": {"id": "app00000000000000"},
        "webhook": {"id": hook},
        "timestamp": f"2026-09-21T14:13:{second}.000Z",
        **held,
    }


SIGNER = hmac_signer(
    header=HEADER,
    mark="hmac-sha256=",
    key=base64.b64decode,
    secret="MqXR2VCTFyBzuG9cLLb0hKpgJ8cbHXJ9Zz3p1rY2mXo=",
    other_secret="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    bodies=[
        Body("a notification", compact(_notification("ach00000000000001", 11))),
        Body("of another webhook", compact(_notification("ach00000000000002", 12))),
        Body("over several lines", pretty(_notification("ach00000000000003", 13))),
        Body("with spaces", spaced(_notification("ach00000000000004", 14))),
        Body("with a member that nobody knows", compact(_notification("ach00000000000005", 15, moon="waned"))),
    ],
    accepts=accepts,
    asked="pyairtable",
)
