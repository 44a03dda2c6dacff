"""Tally: base64 of an HMAC over the body. It has no SDK that verifies."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer


def _event(kind: str, number: int, **data: object) -> dict[str, object]:
    return {
        "eventId": f"a4cb511e-d513-4fa5-baee-b815d718df{number}",
        "eventType": kind,
        "createdAt": "2026-09-21T14:13:18.889Z",
        "data": {"responseId": "2wgx4n", "respondentId": "dwQKYm", "formId": "VwbNEw", **data},
    }


SIGNER = hmac_signer(
    header="Tally-Signature",
    encoding="base64",
    secret="8f1c2d3e-4b5a-6978-8796-a5b4c3d2e1f0",
    other_secret="00000000-0000-0000-0000-000000000000",
    bodies=[
        Body("FORM_RESPONSE", compact(_event("FORM_RESPONSE", 11, fields=[]))),
        Body("FORM_RESPONSE, with unicode", compact(_event("FORM_RESPONSE", 12, fields=[{"value": "schön 👍 日本"}]))),
        Body("FORM_RESPONSE, over several lines", pretty(_event("FORM_RESPONSE", 13))),
        Body("FORM_RESPONSE, escaped", spaced(_event("FORM_RESPONSE", 14, formName="né"))),
        Body("a type that nobody knows", compact(_event("FORM_EATEN", 15))),
    ],
)
