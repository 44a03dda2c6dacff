"""PagerDuty: a list of `v1=` and HMAC over the body, one for each secret while one is rolled. No SDK for Python verifies."""

from __future__ import annotations

from collections.abc import Iterator

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.signer import Case, Signer

HEADER = "X-PagerDuty-Signature"


def more(signer: Signer) -> Iterator[Case]:
    good = signer.signed()
    value, other = good.value(HEADER), signer.signed(secret=signer.other_secret).value(HEADER)
    yield Case("while a secret is rolled: another signature first", good.with_header(HEADER, f"{other},{value}"), True)
    yield Case("a version that nobody knows before it", good.with_header(HEADER, f"v0={'a' * 64},{value}"), True)
    yield Case("two signatures, both foreign", good.with_header(HEADER, f"{other},{other}"))
    yield Case("a version that nobody knows alone", good.with_header(HEADER, value.replace("v1=", "v2=")))
    yield Case("a semicolon between signatures", good.with_header(HEADER, f"{other};{value}"))


def _event(kind: str, **data: object) -> dict[str, object]:
    return {
        "event": {
            "id": "5ac64822-4adc-4fda-ade0-410becf0de4f",
            "event_type": kind,
            "resource_type": kind.partition(".")[0],
            "occurred_at": "2026-09-21T14:13:19.169Z",
            "agent": {"id": "PLH1HKV", "type": "user_reference"},
            "client": {"name": "PagerDuty"},
            "data": {"id": "PGR0VU2", **data},
        }
    }


SIGNER = hmac_signer(
    header=HEADER,
    mark="v1=",
    secret="GqwMwQLAhE6YUjNzRvDyHQ2Kn9cVb3Xs",
    other_secret="00000000000000000000000000000000",
    bodies=[
        Body("incident.triggered", compact(_event("incident.triggered", number=2))),
        Body("incident.annotated, with unicode", compact(_event("incident.annotated", content="läuft 🚒 火事"))),
        Body("service.updated, over several lines", pretty(_event("service.updated", summary="x"))),
        Body("incident.resolved, escaped", spaced(_event("incident.resolved", title="né"))),
        Body("a type that nobody knows", compact(_event("incident.levitated"))),
    ],
    more=more,
)
