"""Svix: Standard Webhooks under its own names of headers, and by its own library."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from tests.providers.making.bodies import Body
from tests.providers.making.hmacs import usual
from tests.providers.making.request import Request
from tests.providers.making.signer import AT, Case, Proof, Signer, Stamp
from tests.providers.making.signers.standard_webhooks import bodies, listing, signing

webhooks = import_module("svix.webhooks")


def accepts(request: Request, secret: str) -> bool:
    webhooks.Webhook(secret).verify(request.body, dict(request.headers))
    return True


def more(signer: Signer) -> Iterator[Case]:
    yield from listing(signer, "svix")
    good = signer.signed()
    renamed = tuple((name.replace("svix-", "webhook-"), value) for name, value in good.headers)
    standard = Request(good.method, good.url, renamed, good.body)
    yield Case("the names of Standard Webhooks", standard, valid=True)
    both = standard.with_header("svix-signature", "v1,AAAA")
    yield Case("svix-signature goes before webhook-signature, and is bad", both)
    yield Case(
        "svix-timestamp goes before webhook-timestamp, and is stale",
        standard.with_header("svix-timestamp", str(AT - 301)),
    )


STAMP = Stamp(header="svix-timestamp")


def svix_signer(sent: list[Body]) -> Signer:
    """Return the signer of a provider that leaves its webhooks to Svix; each body has its svix-id."""
    return Signer(
        secret="whsec_plJ3nmyCDGBKInavdOK15jsl",
        other_secret="whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        bodies=sent,
        sign=signing("svix"),
        accepts=accepts,
        proof=Proof("svix-signature", "v1,", " ", "base64"),
        stamp=STAMP,
        hostile=usual(STAMP),
        more=more,
        made_by="svix",
        asked="svix",
    )


SIGNER = svix_signer(bodies("svix"))
