"""Instantly: a token of ours in a header that the webhook is told to send, or in the URL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.signer import Case, Signer
from tests.providers.making.tokens import header_token_signer

HEADER = "Authorization"


def more(signer: Signer) -> Iterator[Case]:
    bare = signer.signed().with_header(HEADER)

    def called(said: str, query: str, *, valid: bool = False) -> Case:
        return Case(said, replace(bare, url=f"{bare.url}?{query}"), valid=valid)

    yield called("the token in the URL", f"token={signer.secret}", valid=True)
    yield called("another token in the URL", f"token={signer.other_secret}")
    yield called("an empty token in the URL", "token=")
    yield called("two tokens in the URL", f"token={signer.secret}&token=x")
    both = replace(signer.signed(secret=signer.other_secret), url=f"{bare.url}?token={signer.secret}")
    yield Case("another token in the header, the right one in the URL", both)


def _event(kind: str, **held: object) -> dict[str, object]:
    return {
        "timestamp": "2026-09-21T14:13:19.000Z",
        "event_type": kind,
        "workspace": "w1",
        "campaign_id": "c1",
        "campaign_name": "Spring",
        "lead_email": "ada@example.com",
        **held,
    }


SIGNER = header_token_signer(
    header=HEADER,
    mark="Bearer ",
    secret="in-8e1f7d2c0b9a4536",
    other_secret="in-0000000000000000",
    bodies=[
        Body("email_sent", compact(_event("email_sent", step=1))),
        Body("reply_received, with unicode", compact(_event("reply_received", reply_text="Ja, bitte! 👍 東京"))),
        Body("email_bounced, over several lines", pretty(_event("email_bounced"))),
        Body("lead_unsubscribed, escaped", spaced(_event("lead_unsubscribed", note="Zoë"))),
        Body("a type that nobody knows", compact(_event("lead_teleported"))),
    ],
    leaves_out=frozenset({"the token in the query"}),  # which may be there too, see `more`
    more=more,
)
