"""Postmark: HTTP basic authentication, as the URL that was given says. There is nothing to verify with an SDK."""

from __future__ import annotations

from collections.abc import Iterator

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.signer import Case, Signer
from tests.providers.making.tokens import basic_signer


def more(signer: Signer) -> Iterator[Case]:
    good = signer.signed()
    value = good.value("Authorization")
    lower = good.with_header("Authorization", value.replace("Basic ", "basic "))
    yield Case("the name of the scheme in lower case", lower, valid=True)


def _event(kind: str, **held: object) -> dict[str, object]:
    return {
        "RecordType": kind,
        "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
        "Recipient": "ada@example.com",
        **held,
    }


SIGNER = basic_signer(
    secret="postmark:Correct-Horse-9",
    other_secret="postmark:battery-staple",
    bodies=[
        Body("Delivery", compact(_event("Delivery", DeliveredAt="2026-09-21T14:13:10Z", ServerID=23))),
        Body(
            "Bounce, with unicode",
            compact(_event("Bounce", ID=692560173, BouncedAt="2026-09-21T16:13:10+02:00", Subject="Größe ✉")),
        ),
        Body("Open, over several lines", pretty(_event("Open", ReceivedAt="2026-09-21T14:13:10Z", FirstOpen=True))),
        Body(
            "Click, escaped",
            spaced(_event("Click", ReceivedAt="2026-09-21T14:13:10Z", OriginalLink="https://example.com/é")),
        ),
        Body(
            "inbound, which has no RecordType",
            compact({"MessageID": "a8c1040e", "Date": "Mon, 21 Sep 2026 14:13:10 +0000"}),
        ),
        Body("a type that nobody knows", compact(_event("Teleported", ChangedAt="2026-09-21T14:13:10Z"))),
    ],
    more=more,
)
