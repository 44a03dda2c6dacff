"""GitLab: the secret token itself, in a header."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.tokens import header_token_signer


def _headers(kind: str, number: int) -> tuple[tuple[str, str], ...]:
    return (("X-Gitlab-Event", kind), ("Idempotency-Key", f"f5e5f430-f57b-4e6e-9fac-d9128cd722{number}"))


def event(kind: str, **attributes: object) -> dict[str, object]:
    """Return what GitLab sends of ``kind``."""
    return {
        "object_kind": kind,
        "project": {"id": 1, "path_with_namespace": "gitlab-org/gitlab-test"},
        "object_attributes": {"id": 301, "updated_at": "2026-09-21 14:13:18 UTC", **attributes},
    }


SIGNER = header_token_signer(
    header="X-Gitlab-Token",
    secret="glwh-Zk3Vq8YtR2nXw7Lp",
    other_secret="glwh-00000000000000000",
    bodies=[
        Body("issue.open", compact(event("issue", action="open")), _headers("Issue Hook", 10)),
        Body("note, with unicode", compact(event("note", note="schön 👍 日本")), _headers("Note Hook", 11)),
        Body(
            "merge_request.merge, over several lines",
            pretty(event("merge_request", action="merge")),
            _headers("Merge Request Hook", 12),
        ),
        Body(
            "push, escaped",
            spaced({"object_kind": "push", "event_name": "push", "project_id": 15, "user_name": "Zoë"}),
            _headers("Push Hook", 13),
        ),
        Body("a kind that nobody knows", compact(event("moon")), _headers("Moon Hook", 14)),
        Body("without an idempotency key", compact(event("wiki_page", action="create"))),
    ],
)
