"""Resend: Standard Webhooks under the names of Svix; its own SDK verifies."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.request import Request
from tests.providers.making.signers.svix import svix_signer

resend = import_module("resend")


def accepts(request: Request, secret: str) -> bool:
    given = {name.lower(): value for name, value in reversed(request.headers)}
    headers = {
        name: given[f"svix-{name}"] if f"svix-{name}" in given else given[f"webhook-{name}"]
        for name in ("id", "timestamp", "signature")
    }
    resend.Webhooks.verify({"payload": request.body.decode(), "headers": headers, "webhook_secret": secret})
    return True


def _event(kind: str, **data: object) -> dict[str, object]:
    return {
        "type": kind,
        "created_at": "2026-09-21T14:13:18.126Z",
        "data": {"email_id": "56761188-7520-42d8-8898-ff6fc54ce618", "to": ["ada@example.com"], **data},
    }


def _id(number: int) -> tuple[tuple[str, str], ...]:
    return (("svix-id", f"msg_2resend{number}"),)


SIGNER = replace(
    svix_signer(
        [
            Body("email.delivered", compact(_event("email.delivered", subject="hello")), _id(1)),
            Body("email.clicked, with unicode", compact(_event("email.clicked", subject="Grüße 🚀 世界")), _id(2)),
            Body("email.bounced, over several lines", pretty(_event("email.bounced", bounce={"type": "x"})), _id(3)),
            Body("contact.created, escaped", spaced(_event("contact.created", first_name="Zoë")), _id(4)),
            Body("a type that nobody knows", compact(_event("email.teleported")), _id(5)),
        ]
    ),
    accepts=accepts,
    asked="resend",
)
