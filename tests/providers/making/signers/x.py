"""X: `sha256=` and base64 of an HMAC over the body. No library of its own for Python verifies webhooks."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads

SIGNER = hmac_signer(
    header="X-Twitter-Webhooks-Signature",
    mark="sha256=",
    encoding="base64",
    secret="consumer-secret-0815-ebb-and-flow",
    other_secret="another-consumer-secret-of-an-app",
    bodies=[
        *payloads("x"),
        Body(
            "an event of the older API",
            compact({"for_user_id": "2244994945", "tweet_create_events": [{"id_str": "1850006", "text": "flow"}]}),
        ),
    ],
)
