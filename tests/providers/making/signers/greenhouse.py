"""Greenhouse: `sha256 ` and an HMAC over the body. No SDK of its own verifies."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer


def _event(action: str, **payload: object) -> dict[str, object]:
    return {"action": action, "payload": {"application": {"id": 69306314, "status": "active"}, **payload}}


def _headers(number: int) -> tuple[tuple[str, str], ...]:
    return (("Greenhouse-Event-ID", f"30{number}"),)


SIGNER = hmac_signer(
    header="Signature",
    mark="sha256 ",
    secret="gh-Zk3Vq8YtR2nXw7Lp",
    other_secret="gh-0000000000000000",
    bodies=[
        Body("hire_candidate", compact(_event("hire_candidate")), _headers(1)),
        Body(
            "candidate_stage_change, with unicode", compact(_event("candidate_stage_change", n="Zoë 東京")), _headers(2)
        ),
        Body("offer_created, over several lines", pretty(_event("offer_created", id=9)), _headers(3)),
        Body("job_updated, escaped", spaced(_event("job_updated", job={"name": "né <p>"})), _headers(4)),
        Body("an action that nobody knows", compact(_event("moon_waned")), _headers(5)),
        Body("the ping that comes when a hook is saved", compact({"action": "ping", "web_hook_id": 1}), _headers(6)),
    ],
)
