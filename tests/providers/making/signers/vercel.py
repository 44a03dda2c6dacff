"""Vercel: an HMAC-SHA1 over the body. Its SDKs do not verify webhooks."""

from __future__ import annotations

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.signer import AT


def _event(kind: str, number: int, **payload: object) -> dict[str, object]:
    return {
        "id": f"evt_2XqF5{number}",
        "type": kind,
        "createdAt": AT * 1000 - 800,
        "region": "sfo1",
        "payload": {"team": {"id": "team_1"}, "project": {"id": "prj_1"}, **payload},
    }


SIGNER = hmac_signer(
    header="x-vercel-signature",
    digest="sha1",
    secret="Zq3vT8mLkR2nXw7LpYtB5cJd",
    other_secret="000000000000000000000000",
    bodies=[
        Body("deployment.created", compact(_event("deployment.created", 1, deployment={"id": "dpl_1"}))),
        Body("deployment.error, with unicode", compact(_event("deployment.error", 2, name="größe 🔺 失敗"))),
        Body("project.removed, over several lines", pretty(_event("project.removed", 3))),
        Body("domain.created, escaped", spaced(_event("domain.created", 4, domain="né.example"))),
        Body("a type that nobody knows", compact(_event("moon.waned", 5))),
    ],
)
