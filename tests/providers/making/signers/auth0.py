"""Auth0: the token as the whole of Authorization."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.tokens import header_token_signer


def _log(kind: str, number: int, **held: object) -> dict[str, object]:
    log_id = f"900202609211413190000000000000000000012234{number}"
    data = {"log_id": log_id, "date": "2026-09-21T14:13:18.777Z", "type": kind, "user_id": "auth0|1", **held}
    return {"log_id": log_id, "data": data}


SIGNER = header_token_signer(
    header="Authorization",
    secret="Bearer-of-Zk3Vq8YtR2nXw7Lp",
    other_secret="Bearer-of-0000000000000000",
    bodies=[
        Body("a successful login", compact([_log("s", 11)])),
        Body("two logs", compact([_log("f", 12), _log("ss", 13)])),
        Body("over several lines", pretty([_log("slo", 14)])),
        Body("escaped, with unicode", spaced([_log("fp", 15, description="né 🗝")])),
        Body("one object", compact(_log("seacft", 16))),
        Body("a type that nobody knows", compact([_log("moon", 17)])),
    ],
)
