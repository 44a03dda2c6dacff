"""GitHub: `sha256=` and HMAC over the body. No official SDK for Python: gidgethub verifies."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from tests.providers.making.bodies import FORM, Body, compact, form, pretty, spaced
from tests.providers.making.hmacs import hmac_signer
from tests.providers.making.request import Request
from tests.providers.making.signer import Case, Signer

sansio = import_module("gidgethub.sansio")
HEADER = "X-Hub-Signature-256"


def accepts(request: Request, secret: str) -> bool:
    sansio.validate_event(request.body, signature=request.value(HEADER), secret=secret)
    return True


def more(signer: Signer) -> Iterator[Case]:
    good = signer.signed()
    sha1 = "a" * 40
    both = good.with_header("X-Hub-Signature", f"sha1={sha1}")
    yield Case("the older header beside it, whatever it holds", both, valid=True)
    yield Case("the older header alone", good.with_header(HEADER).with_header("X-Hub-Signature", f"sha1={sha1}"))


def _headers(event: str, number: int) -> tuple[tuple[str, str], ...]:
    delivery = f"72d3162e-cc78-11e3-81ab-4c9367dc09{number:02}"
    return (("X-GitHub-Event", event), ("X-GitHub-Delivery", delivery), ("X-GitHub-Hook-ID", "292430182"))


REPOSITORY = {"id": 1296269, "full_name": "octo-org/hello", "private": False}
ISSUE = {"action": "opened", "issue": {"number": 7, "title": "Ünïcode ✓ 日本語"}, "repository": REPOSITORY}

SIGNER = hmac_signer(
    header=HEADER,
    mark="sha256=",
    secret="It's a Secret to Everybody",
    other_secret="It's a Secret to Nobody",
    bodies=[
        Body("push", compact({"ref": "refs/heads/main", "commits": [], "repository": REPOSITORY}), _headers("push", 1)),
        Body("issues.opened, with unicode", compact(ISSUE), _headers("issues", 2)),
        Body(
            "pull_request.closed, over several lines",
            pretty({"action": "closed", "number": 3, "repository": REPOSITORY}),
            _headers("pull_request", 3),
        ),
        Body("ping", spaced({"zen": "Keep it logically awesome.", "hook_id": 1}), _headers("ping", 4)),
        Body(
            "a type that nobody knows",
            compact({"action": "warped", "installation": {"id": 5}}),
            _headers("wormhole", 5),
        ),
        Body(
            "issues.opened as a form",
            form({"payload": compact(ISSUE).decode()}),
            _headers("issues", 6),
            content_type=FORM,
        ),
    ],
    accepts=accepts,
    asked="gidgethub",
    more=more,
)
