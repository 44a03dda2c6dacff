"""Okta: the secret as the whole of Authorization."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.tokens import header_token_signer


def _events(*kinds: str, name: str = "Ada") -> dict[str, object]:
    events = [
        {
            "uuid": f"f790999f-fe87-467a-9880-6982a583{number:04}",
            "published": "2026-09-21T14:13:18.777Z",
            "eventType": kind,
            "version": "0",
            "actor": {"id": "00u1qw6mqitPHM8AJ0g7", "type": "User", "displayName": name},
        }
        for number, kind in enumerate(kinds)
    ]
    return {
        "eventType": "com.okta.event_hook",
        "eventTypeVersion": "1.0",
        "cloudEventsVersion": "0.1",
        "eventId": "b5a188b9-5ece-4636-b041-482ffda96311",
        "eventTime": "2026-09-21T14:13:19.032Z",
        "source": "https://example.okta.com/api/v1/eventHooks/whoql0HfiLGPWc8Jx0g3",
        "data": {"events": events},
    }


SIGNER = header_token_signer(
    header="Authorization",
    secret="hook-Zk3Vq8YtR2nXw7Lp",
    other_secret="hook-0000000000000000",
    bodies=[
        Body("user.session.start", compact(_events("user.session.start"))),
        Body("two events", compact(_events("user.lifecycle.create", "user.lifecycle.activate"))),
        Body("over several lines", pretty(_events("user.session.end"))),
        Body("escaped, with unicode", spaced(_events("group.user_membership.add", name="Zoë 東京 🗝"))),
        Body("a type that nobody knows", compact(_events("moon.waned"))),
    ],
)
