"""GitLab's signing token: Standard Webhooks, by its reference library."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.hmacs import usual
from tests.providers.making.request import Request
from tests.providers.making.signer import Case, Proof, Signer, Stamp
from tests.providers.making.signers.gitlab import event
from tests.providers.making.signers.standard_webhooks import signing

webhooks = import_module("standardwebhooks.webhooks")


def accepts(request: Request, secret: str) -> bool:
    webhooks.Webhook(secret).verify(request.body, dict(request.headers))
    return True


def more(signer: Signer) -> Iterator[Case]:
    good = signer.signed()
    with_token = good.with_header("X-Gitlab-Token", "glwh-Zk3Vq8YtR2nXw7Lp")
    yield Case("a secret token beside the signature", with_token, valid=True)
    yield Case("the secret token alone", with_token.with_header("webhook-signature"))
    yield Case("no webhook-id", good.with_header("webhook-id"))
    yield Case("no webhook-timestamp", good.with_header("webhook-timestamp"))
    yield Case("another webhook-id", good.with_header("webhook-id", "f5e5f430-f57b-4e6e-9fac-d9128cd72200"))


def _headers(kind: str, number: int) -> tuple[tuple[str, str], ...]:
    key = f"f5e5f430-f57b-4e6e-9fac-d9128cd722{number}"
    return (("X-Gitlab-Event", kind), ("Idempotency-Key", key), ("webhook-id", key))


STAMP = Stamp(header="webhook-timestamp")

SIGNER = Signer(
    secret="whsec_3k9XnD0mF1tYvQ2sB7rLwEjUaHcGoPzIxN5Z8V4M6KQ=",
    other_secret="whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
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
    ],
    sign=signing("webhook"),
    accepts=accepts,
    proof=Proof("webhook-signature", "v1,", " ", "base64"),
    stamp=STAMP,
    hostile=usual(STAMP),
    more=more,
    made_by="standardwebhooks",
    asked="standardwebhooks",
)
