"""Zoom: `v0=` and HMAC over `v0:{timestamp}:{body}`. No library for Python."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.signer import AT, Case, Signer, Stamp

HEADER, TIMESTAMP = "x-zm-signature", "x-zm-request-timestamp"
VALIDATION = compact(
    {"event": "endpoint.url_validation", "event_ts": AT * 1000, "payload": {"plainToken": "qgg8vlvZRS6UY"}}
)


def more(signer: Signer) -> Iterator[Case]:
    good = signer.signed()
    asked = signer.signed(signer.bodies[-1])
    yield Case("the handshake without a signature", asked.with_header(HEADER))
    yield Case("the handshake with another secret", signer.signed(signer.bodies[-1], secret=signer.other_secret))
    for said, text in (
        ("Slack's version in what is signed", f"v1:{AT}:"),
        ("nothing but the time and the body signed", f"{AT}"),
        ("the body alone signed", ""),
    ):
        made = hmac.new(signer.secret.encode(), text.encode() + good.body, hashlib.sha256).hexdigest()
        yield Case(said, good.with_header(HEADER, f"v0={made}"))


def _event(kind: str, number: int, **held: object) -> dict[str, object]:
    meeting = {"id": "85200000001", "uuid": f"aDYlohsHRtCd{number}==", "topic": "Weekly", **held}
    return {"event": kind, "event_ts": (AT - 1) * 1000, "payload": {"account_id": "acc1", "object": meeting}}


JOINED = {"participant": {"user_id": "16778240", "participant_uuid": "p1", "user_name": "Zoë 李 🚀"}}
SIGNER = hmac_signer(
    header=HEADER,
    mark="v0=",
    content=lambda request, stamp: f"v0:{stamp}:".encode() + request.body,
    stamp=Stamp(header=TIMESTAMP, old_seconds=5400),
    secret="zs-6Kd8wTq1RmmXb0c3Hn",
    other_secret="zs-0000000000000000000",
    bodies=[
        Body("meeting.started", compact(_event("meeting.started", 1))),
        Body("meeting.participant_joined, with unicode", compact(_event("meeting.participant_joined", 2, **JOINED))),
        Body("meeting.ended, over several lines", pretty(_event("meeting.ended", 3))),
        Body("recording.completed, escaped", spaced(_event("recording.completed", 4, topic="Été"))),
        Body("a type that nobody knows", compact({"event": "whiteboard.dreamt", "event_ts": AT * 1000, "payload": {}})),
        Body("the handshake (no event)", VALIDATION),
    ],
    more=more,
)
