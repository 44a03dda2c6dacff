"""SendGrid: ECDSA over the time and the body, with nothing between. Its library verifies; only SendGrid signs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.public_keys import ecdsa_key, public_key_signer
from tests.providers.making.request import Request
from tests.providers.making.signer import AT, Case, Signer, Stamp

eventwebhook = import_module("sendgrid.helpers.eventwebhook")
HEADER, TIMESTAMP = "X-Twilio-Email-Event-Webhook-Signature", "X-Twilio-Email-Event-Webhook-Timestamp"


def accepts(request: Request, secret: str) -> bool:
    verifier = eventwebhook.EventWebhook(secret)
    return bool(verifier.verify_signature(request.body.decode(), request.value(HEADER), request.value(TIMESTAMP)))


def more(signer: Signer) -> Iterator[Case]:
    good, batch = signer.signed(), signer.signed(signer.bodies[1])
    yield Case("line ends rewritten", batch.with_body(batch.body.replace(b"\r\n", b"\n")))
    yield Case("the line end behind the events taken off", batch.with_body(batch.body.removesuffix(b"\r\n")))
    yield Case("one of two events taken out", batch.with_body(b"[" + batch.body.split(b",\r\n", 1)[1]))
    moved = good.with_header(TIMESTAMP, str(AT)[:-1]).with_body(str(AT)[-1].encode() + good.body)
    yield Case("a digit of the time moved into the body, under a good signature", moved)
    yield Case("a signature of zeros (r and s)", good.with_header(HEADER, "MAYCAQACAQA="))
    yield Case("a signature that is no DER", good.with_header(HEADER, "A" * 94 + "=="))
    yield Case("repeated after a day, with its first time", signer.signed(at=AT - 86_400), valid=True)


def _event(kind: str, name: str, **held: object) -> dict[str, object]:
    return {
        "email": "ada@example.com",
        "event": kind,
        "timestamp": AT - 9,
        "sg_event_id": name,
        "sg_message_id": "m1.f",
        **held,
    }


def _batch(*events: dict[str, object]) -> bytes:
    return b"[" + b",\r\n".join(map(compact, events)) + b"]\r\n"


SIGNER = public_key_signer(
    header=HEADER,
    private=ecdsa_key(0x5E9D61D),
    other=ecdsa_key(0x0BAD),
    content=lambda request, stamp: stamp.encode() + request.body,
    stamp=Stamp(header=TIMESTAMP, old_seconds=86_700),
    bodies=[
        Body("delivered", _batch(_event("delivered", "d1"))),
        Body("two events, with CRLF between and behind", _batch(_event("processed", "p1"), _event("bounce", "b1"))),
        Body("click, with unicode", _batch(_event("click", "c1", url="https://example.com/?q=東京", useragent="🚀 é"))),
        Body("open, over several lines", pretty([_event("open", "o1")])),
        Body("unsubscribe, escaped", spaced([_event("unsubscribe", "u1", note="Zoë")])),
        Body("a type that nobody knows", _batch(_event("evaporated", "e1"))),
        Body("an event without an id", _batch({"event": "open", "email": "ada@example.com"})),
    ],
    accepts=accepts,
    asked="sendgrid",
    more=more,
)
