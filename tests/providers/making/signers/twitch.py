"""Twitch EventSub: `sha256=` and HMAC over id, time and body, one behind the other. No library of its own for Python."""

from __future__ import annotations

from collections.abc import Iterator

from tests.providers.making.bodies import Body, compact
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.payloads import payloads
from tests.providers.making.request import Request
from tests.providers.making.signer import Case, Signer, Stamp

ID, KIND = "Twitch-Eventsub-Message-Id", "Twitch-Eventsub-Message-Type"


def content(request: Request, stamp: str) -> bytes:
    return f"{request.value(ID)}{stamp}".encode("utf-8", "surrogatepass") + request.body


def more(signer: Signer) -> Iterator[Case]:
    good = signer.signed()
    nanoseconds = signer.signed(stamp="2026-09-21T14:13:19.123456789Z")
    yield Case("nanoseconds, as Twitch writes them", nanoseconds, valid=True)
    yield Case("no message id", good.with_header(ID))
    yield Case("an empty message id", good.with_header(ID, ""))
    yield Case("another message id", good.with_header(ID, "00000000"))
    yield Case("the message id twice", good.with_header(ID, "5f0c0001", "5f0c0001"))


def _challenge() -> Body:
    subscription = {"id": "f1c2a387", "type": "channel.follow", "status": "webhook_callback_verification_pending"}
    asked = {"challenge": "pogchamp-kappa-360noscope-vohiyo", "subscription": subscription}
    headers = ((ID, "befa7b53"), (KIND, "webhook_callback_verification"))
    return Body("the challenge of a new subscription (no event)", compact(asked), headers)


SIGNER = hmac_signer(
    header="Twitch-Eventsub-Message-Signature",
    mark="sha256=",
    content=content,
    stamp=Stamp(header="Twitch-Eventsub-Message-Timestamp", unit="iso", old_seconds=600),
    secret="s3cRe7-of-the-subscription",
    other_secret="another-of-a-subscription",
    bodies=[*payloads("twitch"), _challenge()],
    more=more,
)
