"""Box: base64 of an HMAC over the body and the time behind it, one under each of two keys. Its SDK signs and verifies."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.request import Request
from tests.providers.making.signer import Case, Signer, Stamp

webhooks = import_module("box_sdk_gen.managers.webhooks")
PRIMARY, SECONDARY = "Box-Signature-Primary", "Box-Signature-Secondary"


def accepts(request: Request, secret: str) -> bool:
    headers = {name.lower(): value for name, value in request.headers}
    return bool(webhooks.WebhooksManager.validate_message(request.body.decode(), headers, secret, secondary_key=secret))


def more(signer: Signer) -> Iterator[Case]:
    good, other = signer.signed(), signer.signed(secret=signer.other_secret)
    value, foreign = good.value(PRIMARY), other.value(PRIMARY)
    alone = good.with_header(PRIMARY)
    yield Case("the secondary key's alone", alone.with_header(SECONDARY, value), True)
    rolled = good.with_header(PRIMARY, foreign).with_header(SECONDARY, value)
    yield Case("while the primary key is changed", rolled, True)
    yield Case("while the secondary key is changed", good.with_header(SECONDARY, foreign), True)
    both = good.with_header(PRIMARY, foreign).with_header(SECONDARY, foreign)
    yield Case("both signatures under foreign keys", both)
    yield Case("the secondary signature twice", good.with_header(SECONDARY, value, value))


def _headers(number: int) -> tuple[tuple[str, str], ...]:
    return (
        ("Box-Delivery-Id", f"673a081b-bb4b-4d45-b4f1-4131a29c1d{number}"),
        ("Box-Signature-Version", "1"),
        ("Box-Signature-Algorithm", "HmacSHA256"),
    )


def _event(trigger: str, **source: object) -> dict[str, object]:
    return {
        "type": "webhook_event",
        "id": "eb0c4e06-751f-442c-86f8-fd5bb404dbec",
        "created_at": "2026-09-21T07:13:18-07:00",
        "trigger": trigger,
        "webhook": {"id": "53", "type": "webhook"},
        "source": {"id": "73835521473", "type": "file", **source},
    }


SIGNER = hmac_signer(
    header=PRIMARY,
    encoding="base64",
    content=lambda request, stamp: request.body + stamp.encode("utf-8", "surrogatepass"),
    stamp=Stamp(header="Box-Delivery-Timestamp", unit="iso", old_seconds=600),
    secret="SamplePrimaryKey7LpYtB5cJdZq3vT8",
    other_secret="SampleForeignKey0000000000000000",
    bodies=[
        Body("FILE.UPLOADED", compact(_event("FILE.UPLOADED", name="a.png")), _headers(10)),
        Body("FILE.RENAMED, over several lines", pretty(_event("FILE.RENAMED", name="b.png")), _headers(11)),
        Body("FOLDER.CREATED, escaped", spaced(_event("FOLDER.CREATED", name="né")), _headers(12)),
        Body("COMMENT.CREATED", compact(_event("COMMENT.CREATED", message="</b>")), _headers(13)),
        Body("a trigger that nobody knows", compact(_event("MOON.WANED")), _headers(14)),
    ],
    accepts=accepts,
    asked="box-sdk-gen",
    more=more,
)
