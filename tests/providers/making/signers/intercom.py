"""Intercom: `sha1=` and HMAC with SHA-1 over the body. No library verifies it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.signer import AT, Case, Signer

HEADER = "X-Hub-Signature"


def more(signer: Signer) -> Iterator[Case]:
    good = signer.signed()
    longer = hmac.new(signer.secret.encode(), good.body, hashlib.sha256).hexdigest()
    yield Case("SHA-256 under its own name", good.with_header(HEADER, f"sha256={longer}"))
    yield Case("SHA-256 under the name of SHA-1", good.with_header(HEADER, f"sha1={longer}"))
    yield Case(
        "the signature in GitHub's newer header",
        good.with_header(HEADER).with_header(f"{HEADER}-256", good.value(HEADER)),
    )


def _event(topic: str, name: str | None, /, **item: object) -> dict[str, object]:
    return {
        "type": "notification_event",
        "app_id": "q8sn4",
        "topic": topic,
        "id": name,
        "created_at": AT - 3,
        "first_sent_at": AT - 2,
        "delivery_attempts": 1,
        "data": {"type": "notification_event_data", "item": item},
    }


SIGNER = hmac_signer(
    header=HEADER,
    mark="sha1=",
    digest="sha1",
    secret="5d0e5b0a-2f4c-4d58-9a53-intercom",
    other_secret="00000000-0000-0000-0000-intercom",
    bodies=[
        Body(
            "conversation.user.created",
            compact(_event("conversation.user.created", "notif_1", type="conversation", id="7")),
        ),
        Body(
            "contact.created, with unicode",
            compact(_event("contact.created", "notif_2", type="contact", name="Zoë 李 🚀")),
        ),
        Body("a ping without an id, over several lines", pretty(_event("ping", None, type="ping", message="zen"))),
        Body(
            "conversation.admin.replied, escaped", spaced(_event("conversation.admin.replied", "notif_3", body="été"))
        ),
        Body("a type that nobody knows", compact(_event("volcano.erupted", "notif_4"))),
    ],
    more=more,
)
