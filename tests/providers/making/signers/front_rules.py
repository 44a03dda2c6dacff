"""Front's rule webhooks: base64 of an HMAC-SHA1 over the body. No SDK of its own verifies."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer


def _event(kind: str, number: int, **held: object) -> dict[str, object]:
    return {
        "id": f"evt_55c8c{number}",
        "type": kind,
        "emitted_at": 1789999998.8,
        "conversation": {"id": "cnv_1"},
        **held,
    }


SIGNER = hmac_signer(
    header="X-Front-Signature",
    encoding="base64",
    digest="sha1",
    secret="frZk3Vq8YtR2nXw7Lp",
    other_secret="fr0000000000000000",
    bodies=[
        Body("inbound", compact(_event("inbound", 11))),
        Body("comment, with unicode", compact(_event("comment", 12, text="schön 👍 日本"))),
        Body("assign, over several lines", pretty(_event("assign", 13))),
        Body("tag, escaped", spaced(_event("tag", 14, tag="né"))),
        Body("a type that nobody knows", compact(_event("moon_waned", 15))),
    ],
)
