"""ClickUp: an HMAC over the body. No SDK of its own verifies."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer


def _event(event: str, number: int, **held: object) -> dict[str, object]:
    items = [{"id": f"280080364202958{number}", "type": 1, "date": "1789999998800", **held}]
    return {
        "event": event,
        "history_items": items,
        "task_id": "1vj38vv",
        "webhook_id": "7fa3ec74-69a8-4530-a251-8a13730bd204",
    }


SIGNER = hmac_signer(
    header="X-Signature",
    secret="O94IM25S7PXBPYTMNXLLET230SRP0S89COR7B1YOJ2ZIE8WQNK5UUKEF26W0Z5GA",
    other_secret="0000000000000000000000000000000000000000000000000000000000000000",
    bodies=[
        Body("taskUpdated", compact(_event("taskUpdated", 11, field="status"))),
        Body("taskCommentPosted, with unicode", compact(_event("taskCommentPosted", 12, comment="schön 👍 日本"))),
        Body("taskMoved, over several lines", pretty(_event("taskMoved", 13))),
        Body("listCreated, escaped", spaced(_event("listCreated", 14, name="né"))),
        Body(
            "taskDeleted, without history",
            compact(
                {"event": "taskDeleted", "task_id": "1vj38vv", "webhook_id": "7fa3ec74-69a8-4530-a251-8a13730bd204"}
            ),
        ),
        Body(
            "folderUpdated, which nothing tells from the next",
            compact(
                {
                    "event": "folderUpdated",
                    "folder_id": "96772212",
                    "webhook_id": "7fa3ec74-69a8-4530-a251-8a13730bd204",
                }
            ),
        ),
        Body("an event that nobody knows", compact(_event("taskEaten", 15))),
    ],
)
