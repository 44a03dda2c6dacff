"""Front's application webhooks: base64 of an HMAC over `{timestamp}:{body}`. No SDK of its own verifies."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.signer import Stamp


def _event(kind: str, number: int, **held: object) -> dict[str, object]:
    payload = {"id": f"evt_55c8c{number}", "emitted_at": 1789999998.8, "conversation": {"id": "cnv_1"}, **held}
    return {"type": kind, "authorization": {"id": "cmp_1"}, "payload": payload}


SIGNER = hmac_signer(
    header="X-Front-Signature",
    encoding="base64",
    content=lambda request, stamp: stamp.encode("utf-8", "surrogatepass") + b":" + request.body,
    stamp=Stamp(header="X-Front-Request-Timestamp", unit="ms"),
    secret="frZk3Vq8YtR2nXw7Lp",
    other_secret="fr0000000000000000",
    bodies=[
        Body("inbound_received", compact(_event("inbound_received", 11))),
        Body("new_comment_added, with unicode", compact(_event("new_comment_added", 12, comment="schön 👍 日本"))),
        Body("assignee_changed, over several lines", pretty(_event("assignee_changed", 13))),
        Body("tag_added, escaped", spaced(_event("tag_added", 14, tag="né"))),
        Body("a type that nobody knows", compact(_event("moon_waned", 15))),
        Body(
            "the challenge (no event)",
            compact({"type": "sync", "authorization": {"id": "cmp_1"}}),
            (("X-Front-Challenge", "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7"),),
        ),
    ],
)
