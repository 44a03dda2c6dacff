"""Standard Webhooks: `v1,` and HMAC over `{id}.{timestamp}.{body}`, by its reference library; v1a by cryptography."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from importlib import import_module

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import usual
from tests.providers.making.public_keys import ed25519_key, public_text, signature
from tests.providers.making.request import Request
from tests.providers.making.signer import AT, Case, Proof, Sign, Signer, Stamp

webhooks = import_module("standardwebhooks.webhooks")
PRIVATE = ed25519_key("6f1c0b9e3d5a47f28c6e1b0d9a7f5e3c4b2a1908f7e6d5c4b3a2918070605040")
PUBLIC = f"whpk_{public_text(PRIVATE)}"


def content(request: Request, prefix: str, stamp: str) -> bytes:
    """Return what is signed."""
    return f"{request.value(f'{prefix}-id')}.{stamp}.".encode() + request.body


def signing(prefix: str) -> Sign:
    """Return what signs with the headers that begin with ``prefix``."""

    def sign(request: Request, secret: str, stamp: str) -> Request:
        # `Webhook.sign` takes a datetime; what is no time has to be signed as well.
        hmac = webhooks.hmac_data(webhooks.Webhook(secret)._whsecret, content(request, prefix, stamp))
        listed = f"v1,{base64.b64encode(hmac).decode()}"
        return request.with_header(f"{prefix}-timestamp", stamp).with_header(f"{prefix}-signature", listed)

    return sign


def accepts(request: Request, secret: str) -> bool:
    webhooks.Webhook(secret).verify(request.body, dict(request.headers), json_parse=False)
    return True


def listing(signer: Signer, prefix: str) -> Iterator[Case]:
    """Give what is special in the list of signatures, in both versions."""
    header = f"{prefix}-signature"
    good, foreign = signer.signed(), signer.signed(secret=signer.other_secret).value(f"{prefix}-signature")
    value = good.value(header)

    def listed(said: str, text: str, *, valid: bool = False) -> Case:
        return Case(said, good.with_header(header, text), valid=valid)

    yield listed("while a secret is rolled: another signature first", f"{foreign} {value}", valid=True)
    yield listed("a signature of a version that nobody knows before it", f"v7,{'A' * 44} {value}", valid=True)
    bare = signer.secret.removeprefix("whsec_")
    yield Case("a secret without its prefix", good, valid=True, secret=bare)
    yield listed("two signatures, both foreign", f"{foreign} {foreign}")
    yield listed("a comma between signatures", f"{foreign},{value}")
    yield listed("a version that nobody knows alone", value.replace("v1,", "v7,"))
    yield listed("v1 named v1a", value.replace("v1,", "v1a,"))
    for name in ("id", "timestamp"):
        yield Case(f"no {prefix}-{name}", good.with_header(f"{prefix}-{name}"))
        yield Case(f"an empty {prefix}-{name}", good.with_header(f"{prefix}-{name}", ""))
    yield Case("another message id", good.with_header(f"{prefix}-id", "msg_other"))
    yield Case("the message id twice", good.with_header(f"{prefix}-id", "msg_1", "msg_1"))
    dotted = good.with_header(f"{prefix}-id", "msg.1")
    yield Case("a full stop in the message id, signed", signer.sign(dotted, signer.secret, str(AT)))
    yield from _v1a(good, prefix)


def _v1a(good: Request, prefix: str) -> Iterator[Case]:
    header = f"{prefix}-signature"
    made = base64.b64encode(signature(PRIVATE, content(good, prefix, str(AT)))).decode()

    def listed(said: str, text: str, *, valid: bool = False) -> Case:
        request = good.with_header(header, text)
        return Case(said, request, valid=valid, secret=PUBLIC, made_by="independent", is_asked=False)

    yield listed("v1a", f"v1a,{made}", valid=True)
    yield listed("v1a beside a v1 that this receiver has no secret for", f"v1,{'A' * 43}= v1a,{made}", valid=True)
    other = good.with_header(header, f"v1a,{made}").with_body(good.body + b" ")
    yield Case("v1a of another body", other, secret=PUBLIC, made_by="independent", is_asked=False)
    yield listed("v1a without its end", f"v1a,{made[:-8]}")
    yield listed("v1a in hexadecimal digits", f"v1a,{base64.b64decode(made).hex()}")
    yield listed("v1a all zeros", f"v1a,{base64.b64encode(bytes(64)).decode()}")
    yield listed("only v1, and the receiver knows the public key", good.value(header))


def bodies(prefix: str) -> list[Body]:
    """Return what is sent, with its message id."""

    def body(said: str, written: bytes, number: int) -> Body:
        return Body(said, written, ((f"{prefix}-id", f"msg_2KWPBgLlAfxdpx2AI54pPJ85f4{number}"),))

    moment = "2026-09-21T14:13:10.344522Z"
    return [
        body("invoice.paid", compact({"type": "invoice.paid", "timestamp": moment, "data": {"id": "inv_1"}}), 1),
        body(
            "user.updated, with unicode",
            compact({"type": "user.updated", "data": {"user_id": "7", "name": "Zoë 李 🚀"}}),
            2,
        ),
        body(
            "order.shipped, over several lines", pretty({"type": "order.shipped", "timestamp": moment, "data": {}}), 3
        ),
        body("note.added, escaped", spaced({"type": "note.added", "data": {"text": "déjà vu"}}), 4),
        body("a type that nobody knows", compact({"type": "comet.sighted", "data": []}), 5),
        body("an object without a type", compact({"test": 2432232314}), 6),
    ]


STAMP = Stamp(header="webhook-timestamp")
SIGNER = Signer(
    secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    other_secret="whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    bodies=bodies("webhook"),
    sign=signing("webhook"),
    accepts=accepts,
    proof=Proof("webhook-signature", "v1,", " ", "base64"),
    stamp=STAMP,
    hostile=usual(STAMP),
    more=lambda signer: listing(signer, "webhook"),
    made_by="standardwebhooks",
    asked="standardwebhooks",
)
