"""Figma: the passcode as a member of every body."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.tokens import body_secret_signer


def _event(kind: str, **held: object) -> dict[str, object]:
    return {"event_type": kind, "timestamp": "2026-09-21T14:13:18Z", "webhook_id": "22", **held}


SIGNER = body_secret_signer(
    member="passcode",
    secret="fig-Zk3Vq8YtR2nXw7Lp",
    other_secret="fig-0000000000000000",
    bodies=[
        Body("FILE_UPDATE", compact(_event("FILE_UPDATE", file_key="zH1EAKPXZbFXrG2TC7cyc4"))),
        Body("FILE_COMMENT, with unicode", compact(_event("FILE_COMMENT", comment=[{"text": "schön 👍 日本"}]))),
        Body("LIBRARY_PUBLISH, over several lines", pretty(_event("LIBRARY_PUBLISH", file_key="z"))),
        Body("FILE_DELETE, escaped", spaced(_event("FILE_DELETE", file_name="né"))),
        Body("FILE_UPDATE once more", compact(_event("FILE_UPDATE", file_key="zH1EAKPXZbFXrG2TC7cyc4", retries=1))),
        Body("PING", compact(_event("PING"))),
        Body("a type that nobody knows", compact(_event("MOON_WANED"))),
    ],
)
