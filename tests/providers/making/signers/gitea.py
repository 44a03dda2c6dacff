"""Gitea: an HMAC over the body, in hexadecimal digits and nothing before them. No library of its own verifies."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer

REPOSITORY = {"id": 140, "full_name": "gitea/webhooks"}


def _headers(event: str, number: int) -> tuple[tuple[str, str], ...]:
    return (("X-Gitea-Event", event), ("X-Gitea-Delivery", f"f6266f16-1bf3-46a5-9ea4-602e06ead4{number}"))


SIGNER = hmac_signer(
    header="X-Gitea-Signature",
    secret="3gEsCfjlV2ugRwgpU#w1*WaW*wa4NXgGmpCfkbG3",
    other_secret="0000000000000000000000000000000000000000",
    bodies=[
        Body(
            "push", compact({"ref": "refs/heads/main", "commits": [], "repository": REPOSITORY}), _headers("push", 10)
        ),
        Body(
            "issues.opened, with unicode",
            compact({"action": "opened", "issue": {"title": "schön 👍 日本"}, "repository": REPOSITORY}),
            _headers("issues", 11),
        ),
        Body(
            "pull_request.closed, over several lines",
            pretty({"action": "closed", "number": 3, "repository": REPOSITORY}),
            _headers("pull_request", 12),
        ),
        Body(
            "create, escaped",
            spaced({"ref": "né", "ref_type": "branch", "repository": REPOSITORY}),
            _headers("create", 13),
        ),
        Body("an event that nobody knows", compact({"action": "warped"}), _headers("wormhole", 14)),
    ],
)
