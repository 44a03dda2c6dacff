"""WorkOS: `t=..., v1=...` over `{t}.{body}`, the time in milliseconds. Its SDK verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.request import Request
from tests.providers.making.signer import Stamp

verification = import_module("workos.webhooks._verification")
HEADER = "WorkOS-Signature"


def accepts(request: Request, secret: str) -> bool:
    verification.verify_header(event_body=request.body, event_signature=request.value(HEADER), secret=secret)
    return True


def _event(kind: str, **data: object) -> dict[str, object]:
    return {
        "id": "event_01H2GG5B9K8YV4QX1Z7M3N6P0R",
        "event": kind,
        "created_at": "2026-09-21T14:13:18.000Z",
        "data": {"id": "directory_user_01E1X1B89NH8Z3SDFJR4H7RGX7", **data},
    }


SIGNER = hmac_signer(
    header=HEADER,
    mark="v1=",
    separator=", ",
    content=lambda request, stamp: stamp.encode("utf-8", "surrogatepass") + b"." + request.body,
    stamp=Stamp(pair="t", unit="ms", old_seconds=180, ahead_seconds=180),
    secret="sec_9kQvT8mLkR2nXw7LpYtB5cJd",
    other_secret="sec_000000000000000000000000",
    bodies=[
        Body("dsync.user.created", compact(_event("dsync.user.created", email="ada@example.com"))),
        Body("user.updated, with unicode", compact(_event("user.updated", first_name="Zoë 東京 🗝"))),
        Body("connection.activated, over several lines", pretty(_event("connection.activated", state="active"))),
        Body("organization.created, escaped", spaced(_event("organization.created", name="né"))),
        Body("a type that nobody knows", compact(_event("moon.waned"))),
    ],
    accepts=accepts,
    asked="workos",
)
