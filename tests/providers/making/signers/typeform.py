"""Typeform: `sha256=` and base64 of the HMAC over the body. No library verifies it."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.signer import Case, Signer

HEADER = "Typeform-Signature"


def more(signer: Signer) -> Iterator[Case]:
    good = signer.signed()
    right = good.value(HEADER).removeprefix("sha256=")
    yield Case("base64 without its padding", good.with_header(HEADER, f"sha256={right.rstrip('=')}"))
    yield Case("the name of the hash in capitals", good.with_header(HEADER, f"SHA256={right}"))
    twice = base64.b64encode(right.encode()).decode()
    yield Case("base64 of base64", good.with_header(HEADER, f"sha256={twice}"))


def _event(kind: str, name: str, **held: object) -> dict[str, object]:
    response = {"form_id": "lT4Z3j", "token": f"t{name}", "submitted_at": "2026-09-21T14:13:18Z", **held}
    return {"event_id": name, "event_type": kind, "form_response": response}


SIGNER = hmac_signer(
    header=HEADER,
    mark="sha256=",
    encoding="base64",
    secret="tf-7c9e2b41d0a85f36",
    other_secret="tf-0000000000000000",
    bodies=[
        Body("form_response", compact(_event("form_response", "01J1"))),
        Body("form_response, with unicode", compact(_event("form_response", "01J2", text="Ünïcode ✓ 日本語 👍"))),
        Body("form_response, over several lines", pretty(_event("form_response", "01J3"))),
        Body("form_response_partial, escaped", spaced(_event("form_response_partial", "01J4", text="naïve </b>"))),
        Body(
            "without an event id, only a token",
            compact({"event_type": "form_response", "form_response": {"token": "t5"}}),
        ),
        Body("a type that nobody knows", compact(_event("form_daydreamt", "01J6"))),
    ],
    more=more,
)
