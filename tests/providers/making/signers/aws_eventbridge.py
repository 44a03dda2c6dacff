"""AWS EventBridge API destinations: the API key in a header. Nothing is signed."""

from __future__ import annotations

from tests.providers.making.payloads import payloads
from tests.providers.making.tokens import header_token_signer

SIGNER = header_token_signer(
    header="X-Api-Key",
    secret="Ebb-and-Flow-0815-correct-horse",
    other_secret="Ebb-and-Flow-0815-battery",
    bodies=payloads("aws-eventbridge"),
)
