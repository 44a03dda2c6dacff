"""Customer.io: an HMAC over `v0:{timestamp}:{body}`. Its SDK does not verify webhooks."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.signer import AT, Stamp


def _event(kind: str, metric: str, number: int, **data: object) -> dict[str, object]:
    return {
        "event_id": f"01E4C4CT6YDC7Y5M7FE1GWWPQ{number}",
        "object_type": kind,
        "metric": metric,
        "timestamp": AT - 1,
        "data": {"customer_id": "42", "delivery_id": "RPILAgUBcRhIBqSfeiIwdIYJKxTY", **data},
    }


SIGNER = hmac_signer(
    header="X-CIO-Signature",
    content=lambda request, stamp: b"v0:" + stamp.encode("utf-8", "surrogatepass") + b":" + request.body,
    stamp=Stamp(header="X-CIO-Timestamp", old_seconds=8 * 86_400),
    secret="7f0e4c559d3b6a8e1f00b7c42d2a4b1c",
    other_secret="00000000000000000000000000000000",
    bodies=[
        Body("email.delivered", compact(_event("email", "delivered", 1, recipient="ada@example.com"))),
        Body("email.clicked, with unicode", compact(_event("email", "clicked", 2, subject="Grüße 🚀 世界"))),
        Body("push.bounced, over several lines", pretty(_event("push", "bounced", 3))),
        Body("customer.unsubscribed, escaped", spaced(_event("customer", "unsubscribed", 4, name="né"))),
        Body("a metric that nobody knows", compact(_event("pigeon", "released", 5))),
    ],
)
