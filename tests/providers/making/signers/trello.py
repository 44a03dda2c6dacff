"""Trello: base64 of an HMAC-SHA1 over body and URL. No SDK of its own verifies."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer


def _action(kind: str, number: int, **data: object) -> dict[str, object]:
    return {
        "action": {
            "id": f"51f9424bcd6e040f3c0024{number}",
            "idMemberCreator": "4fc78a59a885233f4b349bd9",
            "type": kind,
            "date": "2026-09-21T14:13:18.000Z",
            "data": {"board": {"id": "4d5ea62fd76aa1136000000c", "name": "Development"}, **data},
        },
        "model": {"id": "4d5ea62fd76aa1136000000c", "name": "Development"},
    }


SIGNER = hmac_signer(
    header="X-Trello-Webhook",
    encoding="base64",
    digest="sha1",
    content=lambda request, stamp: request.body + request.url.encode(),
    signs_url=True,
    secret="8e6a4f0c2b7d9153a8e6a4f0c2b7d9153a8e6a4f0c2b7d9153a8e6a4f0c2b7d9",
    other_secret="0000000000000000000000000000000000000000000000000000000000000000",
    bodies=[
        Body("updateCard", compact(_action("updateCard", 11, card={"id": "4f1"}))),
        Body("commentCard, with unicode", compact(_action("commentCard", 12, text="schön 👍 日本"))),
        Body("createList, over several lines", pretty(_action("createList", 13))),
        Body("voteOnCard, escaped", spaced(_action("voteOnCard", 14, note="né"))),
        Body("a type that nobody knows", compact(_action("moonWaned", 15))),
    ],
)
