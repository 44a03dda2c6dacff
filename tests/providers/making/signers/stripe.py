"""Stripe: `t=...,v1=...` over `{t}.{body}`. Its library signs, for the sake of tests, and verifies."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import usual
from tests.providers.making.request import Request
from tests.providers.making.signer import AT, Case, Proof, Signer, Stamp

stripe = import_module("stripe")
HEADER = "Stripe-Signature"


def sign(request: Request, secret: str, stamp: str) -> Request:
    signed = f"{stamp}.{request.body.decode()}"
    return request.with_header(HEADER, f"t={stamp},v1={stripe.WebhookSignature._compute_signature(signed, secret)}")


def accepts(request: Request, secret: str) -> bool:
    given = request.value(HEADER)
    return bool(stripe.WebhookSignature.verify_header(request.body, given, secret, tolerance=300))


def more(signer: Signer) -> Iterator[Case]:
    good, rolled = signer.signed(), signer.signed(secret=signer.other_secret)
    value, other = good.value(HEADER), rolled.value(HEADER).partition("v1=")[2]
    signature = value.partition("v1=")[2]

    def header(said: str, text: str, *, valid: bool = False) -> Case:
        return Case(said, good.with_header(HEADER, text), valid=valid)

    yield header("while a secret is rolled: the new signature first", f"t={AT},v1={other},v1={signature}", valid=True)
    yield header("the signature of test mode behind it, v0", f"{value},v0={other}", valid=True)
    yield header("the right signature as v0 alone", f"t={AT},v0={signature}")
    yield header("two signatures, both foreign", f"t={AT},v1={other},v1={other}")
    yield header("semicolons between the pairs", value.replace(",", ";"))


def _event(kind: str, **held: object) -> dict[str, object]:
    inner: dict[str, object] = {"id": "in_1QpL", "object": "invoice", "customer": "cus_9s6X", **held}
    return {
        "id": "evt_1QpLm2",
        "object": "event",
        "api_version": "2026-09-30",
        "created": AT - 2,
        "type": kind,
        "livemode": False,
        "data": {"object": inner},
    }


STAMP = Stamp(pair="t")
SIGNER = Signer(
    secret="whsec_5f0f8e2c7a914dbb8a6c3d1e",
    other_secret="whsec_00000000000000000000other",
    bodies=[
        Body("invoice.paid", compact(_event("invoice.paid", amount_paid=4900, currency="eur"))),
        Body("customer.updated, with unicode", compact(_event("customer.updated", name="Zoë Müller 株式会社 🚀"))),
        Body("charge.refunded, over several lines", pretty(_event("charge.refunded", reason=None))),
        Body(
            "checkout.session.completed, escaped", spaced(_event("checkout.session.completed", note='naïve </b> "q"'))
        ),
        Body("a type that nobody knows", compact(_event("quantum.entangled"))),
        Body("an event without type or object", compact({"id": "evt_2", "created": AT})),
    ],
    sign=sign,
    accepts=accepts,
    proof=Proof(HEADER, "v1=", ","),
    stamp=STAMP,
    hostile=usual(STAMP),
    more=more,
    made_by="stripe",
    asked="stripe",
)
