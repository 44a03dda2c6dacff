"""Slack: `v0=` and HMAC over `v0:{timestamp}:{body}`. Its SDK signs and verifies."""

from __future__ import annotations

from importlib import import_module

from tests.providers.making.bodies import FORM, Body, compact, form, pretty, spaced
from tests.providers.making.hmacs import usual
from tests.providers.making.request import Request
from tests.providers.making.signer import AT, Proof, Signer, Stamp

signature = import_module("slack_sdk.signature")
HEADER, TIMESTAMP = "X-Slack-Signature", "X-Slack-Request-Timestamp"


def sign(request: Request, secret: str, stamp: str) -> Request:
    made = signature.SignatureVerifier(secret).generate_signature(timestamp=stamp, body=request.body)
    return request.with_header(TIMESTAMP, stamp).with_header(HEADER, made)


def accepts(request: Request, secret: str) -> bool:
    return bool(signature.SignatureVerifier(secret).is_valid_request(request.body, request.mapping()))


def _event(kind: str, **held: object) -> dict[str, object]:
    inner = {"type": kind, "user": "U061F7AUR", "channel": "C0LAN2Q65", "ts": "1789999999.000200", **held}
    return {
        "token": "x",
        "team_id": "T0001",
        "api_app_id": "A0001",
        "type": "event_callback",
        "event_id": "Ev0PV52K25",
        "event_time": AT - 1,
        "event": inner,
    }


STAMP = Stamp(header=TIMESTAMP)
SIGNER = Signer(
    secret="8f742231b10e8888abcd99yyyzzz85a5",
    other_secret="00000000000000000000000000000000",
    bodies=[
        Body("app_mention", compact(_event("app_mention", text="hello"))),
        Body(
            "message.channel_join, with unicode", compact(_event("message", subtype="channel_join", text="olé 👋 你好"))
        ),
        Body("reaction_added, over several lines", pretty(_event("reaction_added", reaction="tada"))),
        Body("team_join, escaped", spaced(_event("team_join", real_name="Zoë"))),
        Body("a type that nobody knows", compact(_event("planet_aligned"))),
        Body(
            "a slash command, as a form",
            form(
                {"command": "/weather", "text": "94070 é", "team_id": "T0001", "user_id": "U2", "trigger_id": "13345.2"}
            ),
            content_type=FORM,
        ),
        Body(
            "the handshake (no event)",
            compact(
                {"token": "x", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7", "type": "url_verification"}
            ),
        ),
    ],
    sign=sign,
    accepts=accepts,
    proof=Proof(HEADER, "v0="),
    stamp=STAMP,
    hostile=usual(STAMP),
    made_by="slack_sdk",
    asked="slack_sdk",
)
