"""Orb: `v1=` and HMAC over `v1:{timestamp}:{body}`, the time in ISO 8601. Its library verifies."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request
from tests.providers.making.signer import AT, Case, Signer, Stamp

library = import_module("orb")
CLIENT = library.Orb(api_key="none")
HEADER, TIMESTAMP = "X-Orb-Signature", "X-Orb-Timestamp"


def accepts(request: Request, secret: str) -> bool:
    CLIENT.webhooks.verify_signature(request.body, request.mapping(), secret=secret)
    return True


def more(signer: Signer) -> Iterator[Case]:
    good, foreign = signer.signed(), signer.signed(secret=signer.other_secret).value(HEADER)
    both = f"{foreign} {good.value(HEADER)}"
    yield Case("while a secret is rolled: two signatures", good.with_header(HEADER, both), valid=True)
    naive = STAMP.text(AT).removesuffix(".000Z")
    yield Case("a time without an offset, which is UTC", signer.signed(stamp=naive), valid=True)
    yield Case("a time with another offset", signer.signed(stamp="2026-09-21T16:13:20+02:00"), valid=True)
    yield Case("two signatures, both foreign", good.with_header(HEADER, f"{foreign} {foreign}"))


STAMP = Stamp(header=TIMESTAMP, unit="iso")
SIGNER = hmac_signer(
    header=HEADER,
    mark="v1=",
    separator=" ",
    content=lambda request, stamp: f"v1:{stamp}:".encode() + request.body,
    stamp=STAMP,
    secret="c-xxxxxxx0a1b2c3d4e5f60718293a4b5",
    other_secret="c-0000000000000000000000000other",
    bodies=payloads("orb"),
    more=more,
    accepts=accepts,
    asked="orb-billing",
)
