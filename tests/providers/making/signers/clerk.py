"""Clerk: Standard Webhooks under the names of Svix, by its library."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.signer import AT, Signer
from tests.providers.making.signers.svix import svix_signer


def _event(kind: str, **data: object) -> dict[str, object]:
    return {
        "data": {"id": "user_29w83sxmDNGwOuEthce5gg56FcC", "object": kind.partition(".")[0], **data},
        "object": "event",
        "type": kind,
        "instance_id": "ins_123",
        "timestamp": AT * 1000 - 700,
    }


def _id(number: int) -> tuple[tuple[str, str], ...]:
    return (("svix-id", f"msg_2clerk{number}"),)


SIGNER: Signer = svix_signer(
    [
        Body("user.created", compact(_event("user.created", first_name="Ada")), _id(1)),
        Body("user.updated, with unicode", compact(_event("user.updated", first_name="Zoë 株式会社 🚀")), _id(2)),
        Body("session.ended, over several lines", pretty(_event("session.ended", status="ended")), _id(3)),
        Body("organization.created, escaped", spaced(_event("organization.created", name="né")), _id(4)),
        Body("a type that nobody knows", compact(_event("moon.waned")), _id(5)),
    ]
)
