"""Xero: base64 of an HMAC over the body. Its SDKs do not verify webhooks."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer


def _events(*kinds: tuple[str, str], entropy: str = "GVYJNRXTCVBFQQSXPJIF") -> dict[str, object]:
    events = [
        {
            "resourceUrl": f"https://api.xero.com/api.xro/2.0/Contacts/{number}",
            "resourceId": f"717f2bfc-c6d4-41fd-b238-3f2f0c0cf7{number:02}",
            "tenantId": "c2cc9b6e-9458-4c7d-93cc-f02b81b0594f",
            "tenantType": "ORGANISATION",
            "eventCategory": category,
            "eventType": kind,
            "eventDateUtc": "2026-09-21T14:13:18.903",
        }
        for number, (category, kind) in enumerate(kinds)
    ]
    return {"events": events, "firstEventSequence": 1, "lastEventSequence": len(events), "entropy": entropy}


SIGNER = hmac_signer(
    header="x-xero-signature",
    encoding="base64",
    secret="OSd0eLlVIY9ZhViEqlDUh4+6n6M+Lo+eDaEJheJ6OCCgWwIz2D3JIAU6jPMipHRb",
    other_secret="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    bodies=[
        Body("INVOICE.CREATE", compact(_events(("INVOICE", "CREATE")))),
        Body("two events", compact(_events(("CONTACT", "UPDATE"), ("INVOICE", "UPDATE")))),
        Body("CONTACT.CREATE, over several lines", pretty(_events(("CONTACT", "CREATE")))),
        Body("a category that nobody knows, escaped", spaced(_events(("MOON", "WANE"), entropy="né"))),
        Body("unicode in the entropy", compact(_events(("CREDITNOTE", "CREATE"), entropy="Größe 💶"))),
        Body(
            "the question whether somebody is there (no event)",
            compact({"events": [], "firstEventSequence": 0, "lastEventSequence": 0, "entropy": "S0m3r4Nd0mt3xt"}),
        ),
    ],
)
