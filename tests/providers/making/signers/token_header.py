"""Any sender with a bearer token."""

from __future__ import annotations

from tests.providers.making.payloads import payloads
from tests.providers.making.tokens import header_token_signer

SIGNER = header_token_signer(
    header="Authorization",
    mark="Bearer ",
    secret="Ebb-and-Flow-0815-correct-horse",
    other_secret="Ebb-and-Flow-0815-battery",
    bodies=payloads("token-header"),
)
