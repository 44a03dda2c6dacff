"""Docusign Connect: base64 of an HMAC over the body, a header for each key. Its SDKs do not verify it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.signer import Case, Signer

HEADER, SECOND = "X-DocuSign-Signature-1", "X-DocuSign-Signature-2"


def more(signer: Signer) -> Iterator[Case]:
    good, other = signer.signed(), signer.signed(secret=signer.other_secret)
    value, foreign = good.value(HEADER), other.value(HEADER)
    rolled = good.with_header(HEADER, foreign).with_header(SECOND, value)
    yield Case("with two keys, ours the second", rolled, True)
    yield Case("with two keys, both foreign", good.with_header(HEADER, foreign).with_header(SECOND, foreign))
    yield Case("the second signature twice", good.with_header(SECOND, value, value))
    yield Case("the signature without a number", good.with_header(HEADER).with_header("X-DocuSign-Signature", value))


def _event(name: str, **data: object) -> dict[str, object]:
    return {
        "event": name,
        "apiVersion": "v2.1",
        "uri": "/restapi/v2.1/accounts/24dfce13/envelopes/a70a5ef2",
        "retryCount": 0,
        "configurationId": 21752918,
        "generatedDateTime": "2026-09-21T14:13:18.4233752Z",
        "data": {"accountId": "24dfce13", "envelopeId": "a70a5ef2-12c4-4aaf-84c5-b84134dce420", **data},
    }


SIGNER = hmac_signer(
    header=HEADER,
    encoding="base64",
    secret="kZk3Vq8YtR2nXw7LpYtB5cJdZq3vT8mLkR2nXw7LpYt=",
    other_secret="A0000000000000000000000000000000000000000000=",
    bodies=[
        Body("envelope-completed", compact(_event("envelope-completed"))),
        Body(
            "recipient-completed, with unicode", compact(_event("recipient-completed", recipientId="1", n="Zoë ✍ 株"))
        ),
        Body("envelope-voided, over several lines", pretty(_event("envelope-voided"))),
        Body("envelope-sent, escaped", spaced(_event("envelope-sent", note="né"))),
        Body("an event that nobody knows", compact(_event("envelope-eaten"))),
    ],
    more=more,
)
