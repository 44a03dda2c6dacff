"""Asana: an HMAC over the body. Its SDKs do not verify webhooks."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer


def _event(kind: str, action: str, **held: object) -> dict[str, object]:
    return {
        "user": {"gid": "1123", "resource_type": "user"},
        "created_at": "2026-09-21T14:13:18.484Z",
        "action": action,
        "resource": {"gid": "1337", "resource_type": kind},
        "parent": None,
        **held,
    }


SIGNER = hmac_signer(
    header="X-Hook-Signature",
    secret="b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81",
    other_secret="0000000000000000000000000000000000000000000000000000000000000000",
    bodies=[
        Body("task.changed", compact({"events": [_event("task", "changed", change={"field": "due_on"})]})),
        Body(
            "two events",
            compact({"events": [_event("story", "added"), _event("task", "added", parent={"gid": "9"})]}),
        ),
        Body("project.deleted, over several lines", pretty({"events": [_event("project", "deleted")]})),
        Body("tag.changed, escaped", spaced({"events": [_event("tag", "changed", note="né 🏷")]})),
        Body("a resource that nobody knows", compact({"events": [_event("moon", "waned", note="Größe")]})),
        Body("the heartbeat (no event)", compact({"events": []})),
    ],
)
