"""Salesloft: HMAC with SHA-1 over the body, in hexadecimal. No library for Python."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.signer import Case, Signer

HEADER = "x-salesloft-signature"


def more(signer: Signer) -> Iterator[Case]:
    good = signer.signed()
    longer = hmac.new(signer.secret.encode(), good.body, hashlib.sha256).hexdigest()
    yield Case("SHA-256, as some recipes have it", good.with_header(HEADER, longer))


def _of(event: str) -> tuple[tuple[str, str], ...]:
    return (("x-salesloft-event", event),)


SIGNER = hmac_signer(
    header=HEADER,
    digest="sha1",
    secret="sl-cb-2d9c6f0b8e14",
    other_secret="sl-cb-000000000000",
    bodies=[
        Body(
            "email_updated",
            compact({"id": 1, "status": "sent", "updated_at": "2026-09-21T14:13:19Z"}),
            _of("email_updated"),
        ),
        Body("person_updated, with unicode", compact({"id": 2, "first_name": "Zoë 李 🚀"}), _of("person_updated")),
        Body("call_created, over several lines", pretty({"id": 3, "to": "+15550100"}), _of("call_created")),
        Body("note_created, escaped", spaced({"id": 4, "content": "déjà vu"}), _of("note_created")),
        Body("a type that nobody knows", compact({"id": 5}), _of("meteor_landed")),
    ],
    more=more,
)
