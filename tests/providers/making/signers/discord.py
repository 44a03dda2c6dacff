"""Discord webhook events: Ed25519 over the timestamp and the body. Its SDK verifies."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from importlib import import_module

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.public_keys import Private, ed25519_key, public_key_signer, public_text
from tests.providers.making.request import Request
from tests.providers.making.signer import Signer, Stamp

interactions = import_module("discord_interactions")
SIGNATURE, TIMESTAMP = "X-Signature-Ed25519", "X-Signature-Timestamp"
PRIVATE = ed25519_key("11" * 31 + "01")
OTHER = ed25519_key("11" * 31 + "02")


def shown(private: Private) -> str:
    return public_text(private, "hex")


def accepts(request: Request, secret: str) -> bool:
    given, stamp = request.value(SIGNATURE), request.value(TIMESTAMP)
    with redirect_stdout(io.StringIO()):  # it prints why it refuses
        return bool(interactions.verify_key(request.body, given, stamp, secret))


def content(request: Request, stamp: str) -> bytes:
    return stamp.encode("utf-8", "surrogatepass") + request.body


def discord_signer(bodies: list[Body], stamp: Stamp) -> Signer:
    """Return the signer of what Discord sends in both of its contracts."""
    return public_key_signer(
        header=SIGNATURE,
        bodies=bodies,
        private=PRIVATE,
        other=OTHER,
        encoding="hex",
        content=content,
        shown=shown,
        stamp=stamp,
        accepts=accepts,
        asked="discord-interactions",
    )


def _event(kind: str, **data: object) -> dict[str, object]:
    return {
        "version": 1,
        "application_id": "1234560123453231555",
        "type": 1,
        "event": {"type": kind, "timestamp": "2026-09-21T14:13:19.064834", "data": data},
    }


SIGNER = discord_signer(
    [
        Body("APPLICATION_AUTHORIZED", compact(_event("APPLICATION_AUTHORIZED", integration_type=1, user={"id": "7"}))),
        Body("ENTITLEMENT_CREATE, over several lines", pretty(_event("ENTITLEMENT_CREATE", id="1", user_id="7"))),
        Body("LOBBY_MESSAGE_CREATE, with unicode", compact(_event("LOBBY_MESSAGE_CREATE", content="Grüße 🎮 世界"))),
        Body("ENTITLEMENT_UPDATE, escaped", spaced(_event("ENTITLEMENT_UPDATE", note="né </b>"))),
        Body("a type that nobody knows", compact(_event("QUEST_ON_MARS"))),
        Body("the ping (no event)", compact({"version": 1, "application_id": "1234560123453231555", "type": 0})),
    ],
    Stamp(header=TIMESTAMP, old_seconds=900),
)
