"""Paddle: `ts=...;h1=...` over `{ts}:{body}`. Its SDK makes and verifies it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import usual
from tests.providers.making.request import Request
from tests.providers.making.signer import AT, Case, Proof, Signer, Stamp

paddle = import_module("paddle_billing.Notifications.PaddleSignature").PaddleSignature
Secret = import_module("paddle_billing.Notifications.Secret").Secret
HEADER = "Paddle-Signature"


def sign(request: Request, secret: str, stamp: str) -> Request:
    signed = stamp.encode("utf-8", "surrogatepass") + b":" + request.body
    return request.with_header(HEADER, f"ts={stamp};h1={paddle.calculate_hmac(secret, signed).hexdigest()}")


def accepts(request: Request, secret: str) -> bool:
    """Ask for the signature alone: of the time the SDK allows 5 s, and calls what is older no error."""
    return bool(paddle().verify(request.value(HEADER), request.body.decode(), Secret(secret)))


def more(signer: Signer) -> Iterator[Case]:
    good = signer.signed()
    value, other = good.value(HEADER), signer.signed(secret=signer.other_secret).value(HEADER).partition("h1=")[2]
    signature = value.partition("h1=")[2]
    rolled = good.with_header(HEADER, f"ts={AT};h1={other};h1={signature}")
    yield Case("while a secret is rolled: another signature first", rolled, True)
    yield Case("two signatures, both foreign", good.with_header(HEADER, f"ts={AT};h1={other};h1={other}"))
    yield Case("commas between the pairs", good.with_header(HEADER, value.replace(";", ",")))
    yield Case("the right signature as h2 alone", good.with_header(HEADER, f"ts={AT};h2={signature}"))


def _event(kind: str, **data: object) -> dict[str, object]:
    return {
        "event_id": "evt_01hv8x2axqs2ndqkc1zdtpfx7d",
        "event_type": kind,
        "occurred_at": "2026-09-21T14:13:18.987654Z",
        "notification_id": "ntf_01hv8x2azv0q1v7s8m0n0d2k3p",
        "data": {"id": "txn_01hv8wptq8987qeep44cyrewp9", "customer_id": "ctm_01hv6y1jedq4p1n0yqn5ba3ky4", **data},
    }


STAMP = Stamp(pair="ts")
SIGNER = Signer(
    secret="pdl_ntfset_01hv8xkq6zry_kVbR8sYp3nT5wLmQ",
    other_secret="pdl_ntfset_00000000000000_0000000000000000",
    bodies=[
        Body("transaction.completed", compact(_event("transaction.completed", status="completed"))),
        Body("customer.updated, with unicode", compact(_event("customer.updated", name="Zoë 株式会社 🚀"))),
        Body("subscription.canceled, over several lines", pretty(_event("subscription.canceled"))),
        Body("product.created, escaped", spaced(_event("product.created", name="naïve"))),
        Body("a type that nobody knows", compact(_event("aeroplane.landed"))),
    ],
    sign=sign,
    accepts=accepts,
    proof=Proof(HEADER, "h1=", ";"),
    stamp=STAMP,
    hostile=usual(STAMP),
    more=more,
    made_by="paddle-python-sdk",
    asked="paddle-python-sdk",
)
