"""HubSpot: v3, v2 and v1. Its library makes the signatures, and verifies them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import usual
from tests.providers.making.request import Request
from tests.providers.making.signer import AT, Case, Proof, Signer, Stamp

signature = import_module("hubspot.utils.signature").Signature
V3, TIMESTAMP = "X-HubSpot-Signature-v3", "X-HubSpot-Request-Timestamp"
OLDER, VERSION = "X-HubSpot-Signature", "X-HubSpot-Signature-Version"


def sign(request: Request, secret: str, stamp: str) -> Request:
    made = signature.get_signature(secret, request.body.decode(), "v3", request.url, request.method, stamp)
    return request.with_header(TIMESTAMP, stamp).with_header(V3, made)


def accepts(request: Request, secret: str) -> bool:
    borne = {name.lower(): value for name, value in request.headers}
    version = "v3" if V3.lower() in borne else borne[VERSION.lower()]
    return bool(
        signature.is_valid(
            borne[V3.lower() if version == "v3" else OLDER.lower()],
            secret,
            request.body.decode(),
            request.url,
            request.method,
            version,
            borne.get(TIMESTAMP.lower()),
        )
    )


def _older(signer: Signer, body: Body, version: str, *, secret: str | None = None) -> Request:
    bare = signer.signed(body).with_header(V3).with_header(TIMESTAMP)
    text = bare.body.decode()
    made = signature.get_signature(secret or signer.secret, text, version, bare.url, bare.method)
    return bare.with_header(OLDER, made).with_header(VERSION, version)


def _got(signer: Signer, query: str, version: str) -> Request:
    url = signer.url + query
    made = signature.get_signature(signer.secret, "", version, url, "GET")
    return Request("GET", url, ((OLDER, made), (VERSION, version)), b"")


def more(signer: Signer) -> Iterator[Case]:
    crm, workflow = signer.bodies[0], signer.bodies[5]
    v1, v2 = _older(signer, crm, "v1"), _older(signer, workflow, "v2")
    yield Case("v1 alone", v1, valid=True)
    yield Case("v2 alone, of a workflow", v2, valid=True)
    good = signer.signed()
    both = replace(good, headers=(*good.headers, (OLDER, v1.value(OLDER)), (VERSION, "v1")))
    yield Case("v3 and v1", both, valid=True)
    queried = signer.signed(url=f"{signer.url}?a=1&b=2")
    yield Case("v3 with a query", queried, valid=True)
    got = _got(signer, "?eventId=w-2&event=signed_up&note=Zo%C3%AB", "v2")
    yield Case("a workflow by GET, v2", got, valid=True)
    yield Case("other parameters of a GET than were signed", replace(got, url=f"{got.url}&paid=1"))
    yield Case("a POST of what was signed as GET", replace(got, method="POST"))
    yield Case("a bad v3 beside a good v1", both.with_header(V3, "A" * 43 + "="))
    yield Case("an empty v3 beside a good v1", both.with_header(V3, ""))
    yield Case(
        "a stale v3 beside a good v1", replace(both, headers=(*signer.signed(at=AT - 301).headers, *both.headers[-2:]))
    )
    yield Case("v1 with the name of v2", v1.with_header(VERSION, "v2"))
    yield Case("v2 with the name of v1", v2.with_header(VERSION, "v1"))
    yield Case("an older signature of a version that nobody knows", v1.with_header(VERSION, "v9"))
    yield Case("an older signature without its version", v1.with_header(VERSION))
    yield Case("v1 with another secret", _older(signer, crm, "v1", secret=signer.other_secret))
    yield Case("v1 of another body", v1.with_body(v1.body + b" "))
    yield Case("v2 at another URL", replace(v2, url=f"{v2.url}/other"))
    yield Case("v1 in capitals", v1.with_header(OLDER, v1.value(OLDER).upper()))


def _event(kind: str, **held: object) -> dict[str, object]:
    return {
        "eventId": 1395718253,
        "subscriptionId": 11,
        "portalId": 62515,
        "appId": 1,
        "occurredAt": (AT - 1) * 1000,
        "subscriptionType": kind,
        "attemptNumber": 0,
        "objectId": 123,
        "changeSource": "CRM",
        **held,
    }


STAMP = Stamp(header=TIMESTAMP, unit="ms")
SIGNER = Signer(
    secret="2a4b6c8d-hubspot-client-secret",
    other_secret="00000000-hubspot-client-secret",
    bodies=[
        Body("contact.creation", compact([_event("contact.creation")])),
        Body(
            "contact.propertyChange, with unicode",
            compact([_event("contact.propertyChange", propertyName="firstname", propertyValue="Zoë 李 🚀")]),
        ),
        Body("deal.deletion, over several lines", pretty([_event("deal.deletion")])),
        Body(
            "two events, escaped",
            spaced([_event("company.creation", name="Café"), _event("contact.merge", mergedObjectIds=[1])]),
        ),
        Body("a type that nobody knows", compact([_event("asteroid.mined")])),
        Body("the body of a workflow", compact({"eventId": "w-1", "event": "signed_up", "contactId": 77})),
    ],
    sign=sign,
    accepts=accepts,
    proof=Proof(V3, encoding="base64"),
    stamp=STAMP,
    hostile=usual(STAMP, signs_url=True),
    more=more,
    made_by="hubspot-api-client",
    asked="hubspot-api-client",
)
