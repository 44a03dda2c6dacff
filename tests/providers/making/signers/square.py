"""Square: base64 of an HMAC over URL and body. Its SDK verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.request import Request

webhooks_helper = import_module("square.utils.webhooks_helper")
HEADER = "X-Square-HmacSha256-Signature"


def accepts(request: Request, secret: str) -> bool:
    return bool(
        webhooks_helper.verify_signature(
            request_body=request.body.decode(),
            signature_header=request.value(HEADER),
            signature_key=secret,
            notification_url=request.url,
        )
    )


def _event(kind: str, **held: object) -> dict[str, object]:
    return {
        "merchant_id": "6SSW7HV8K2ST5",
        "type": kind,
        "event_id": "6a8f5f28-54a1-4eb0-a98a-3111513fd4fc",
        "created_at": "2026-09-21T14:13:19.512Z",
        "data": {"type": kind.partition(".")[0], "id": "hYy9pRFVxpDsO1FB05SunFWUe9JZY", "object": held},
    }


SIGNER = hmac_signer(
    header=HEADER,
    encoding="base64",
    content=lambda request, stamp: request.url.encode() + request.body,
    signs_url=True,
    secret="asdf1234_TzP9kq0y7mVwR3",
    other_secret="asdf0000_0000000000000",
    bodies=[
        Body("payment.updated", compact(_event("payment.updated", status="COMPLETED"))),
        Body("customer.created, with unicode", compact(_event("customer.created", name="Jürgen 🧾 東京"))),
        Body("invoice.published, over several lines", pretty(_event("invoice.published", version=1))),
        Body("order.created, escaped", spaced(_event("order.created", note="né"))),
        Body("a type that nobody knows", compact(_event("comet.sighted"))),
    ],
    accepts=accepts,
    asked="squareup",
)
