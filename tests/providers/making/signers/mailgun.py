"""Mailgun: time, token and their HMAC as a member of the body. No library of Mailgun's verifies it; django-anymail does."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from importlib import import_module

from tests.providers.making.bodies import Body, compact, pretty, spaced
from tests.providers.making.request import Request
from tests.providers.making.signer import AT, Case, Signer, Stamp
from tests.providers.making.stamp_changes import stamp_changes

TOKEN_CHARS = 50


def sign(request: Request, secret: str, stamp: str) -> Request:
    return request.with_body(_with_block(request.body, block(request.body, secret, stamp)))


def _token(body: bytes) -> str:
    return hashlib.sha512(body).hexdigest()[:TOKEN_CHARS]


def _hmac(secret: str, timestamp: str, token: str) -> str:
    return hmac.new(secret.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()


def block(body: bytes, secret: str, timestamp: str = str(AT)) -> dict[str, object]:
    """Return the signature that goes with ``body``."""
    return {"timestamp": timestamp, "token": _token(body), "signature": _hmac(secret, timestamp, _token(body))}


def _with_block(body: bytes, signature: object) -> bytes:
    """Put it first, as text, so that the rest of the body keeps the form it is written in."""
    return b'{"signature":' + json.dumps(signature, ensure_ascii=False).encode() + b"," + body[1:]


def accepts(request: Request, secret: str) -> bool:
    conf = import_module("django.conf")
    if not conf.settings.configured:
        conf.settings.configure(ALLOWED_HOSTS=["*"])
    view = import_module("anymail.webhooks.mailgun").MailgunTrackingWebhookView(webhook_signing_key=secret)
    posted = (
        import_module("django.test")
        .RequestFactory()
        .post("/", request.body, content_type="application/json", headers={"Host": "hooks.example.com"})
    )
    view.validate_request(posted)
    return True


def more(signer: Signer) -> Iterator[Case]:
    body, secret, parent = signer.bodies[0].content, signer.secret, signer.other_secret
    good, right = signer.signed(), block(signer.bodies[0].content, secret)
    token = str(right["token"])

    def said(text: str, members: Mapping[str, object], *, valid: bool = False, is_asked: bool = True) -> Case:
        return Case(text, good.with_body(_with_block(body, {**right, **members})), valid=valid, is_asked=is_asked)

    def written(text: str, raw: bytes) -> Case:
        return Case(text, good.with_body(raw))

    of_parent = _hmac(parent, str(AT), token)
    other = _with_block(body.replace(b"ada@", b"eve@"), right)
    yield Case("another event under the same signature, which covers none", good.with_body(other), valid=True)
    yield said("of a sub-account, with the account's own key", {"parent-signature": of_parent}, valid=True)
    exchanged = {"signature": of_parent, "parent-signature": right["signature"]}
    yield said("of a sub-account, with the parent's key", exchanged, valid=True, is_asked=False)
    behind = b"%s,%s" % (body[:-1], b'"signature":' + json.dumps(right).encode() + b"}")
    yield Case("the signature behind the event", good.with_body(behind), valid=True)
    yield Case("signed with another key", signer.signed(secret=parent))
    yield said("a parent's signature that is none", {"signature": "0" * 64, "parent-signature": "0" * 64})
    yield said("a parent's signature that is no text", {"parent-signature": 1})
    yield said("another token", {"token": "f" * TOKEN_CHARS})
    yield said("no token where one should be", {"token": ""})
    yield said("a full stop between time and token", {"signature": _hmac(secret, f"{AT}.", token)})
    yield said("the token before the time", {"signature": _hmac(secret, token, str(AT))})
    yield said("the signature in capitals", {"signature": str(right["signature"]).upper()})
    yield said("the signature without its end", {"signature": str(right["signature"])[:-4]})
    yield said("letters outside ASCII for a signature", {"signature": "é" * 64})
    yield written("half of a character for a token", good.body.replace(token.encode(), b"\\ud800"))
    for name in ("timestamp", "token", "signature"):
        yield said(f"{name}: null", {name: None})
        yield said(f"{name}: a number", {name: AT})
        yield said(f"{name}: an object", {name: {"$ne": None}})
        yield said(f"{name}: a list", {name: [right[name]]})
        without = {key: value for key, value in right.items() if key != name}
        yield written(f"{name} is missing", _with_block(body, without))
    as_text = json.dumps(right).encode()
    yield written("no signature", body)
    yield written("the signature only further down", b'{"event-data":{"signature":%s}}' % as_text)
    yield written("the signature as text", _with_block(body, json.dumps(right)))
    yield written("the signature in a list", _with_block(body, [right]))
    yield written("the signature twice", _with_block(good.body, right))
    yield written("two signatures, the second one empty", _with_block(_with_block(body, {}), right))
    yield written("two tokens", good.body.replace(b'"token"', b'"token":"x","token"', 1))
    moved = {"timestamp": str(AT)[:-1], "token": str(AT)[-1] + token, "signature": right["signature"]}
    yield written("a digit moved from the time to the token, under a good signature", _with_block(body, moved))
    yield written("the last byte of the body is missing", good.body[:-1])
    yield written("the body is empty", b"")
    yield written("the body in a list", b"[" + good.body + b"]")
    yield written("a byte in the body that is no UTF-8", good.body[:-1] + b"\xff}")
    yield written("a NUL behind the body", good.body + b"\x00")


def _happened(event: str, **held: object) -> dict[str, object]:
    data = {"event": event, "id": f"e-{event}", "timestamp": 1_789_999_990.25, "recipient": "ada@example.com", **held}
    return {"event-data": data}


SIGNER = Signer(
    secret="key-3ax6xnjp29jd6fds4gc373sgvjxteol0",
    other_secret="key-00000000000000000000000000000000",
    bodies=[
        Body("delivered", compact(_happened("delivered"))),
        Body("clicked, with unicode", compact(_happened("clicked", url="https://example.com/東京", tag="Zoë 🚀"))),
        Body("failed, over several lines", pretty(_happened("failed", severity="permanent")).strip()),
        Body("opened, escaped", spaced(_happened("opened", city="Zürich"))),
        Body("a type that nobody knows", compact(_happened("vanished"))),
        Body("nothing happened", compact({"event-data": {}})),
    ],
    sign=sign,
    accepts=accepts,
    stamp=Stamp(old_seconds=29_100),
    hostile=[stamp_changes],
    more=more,
    asked="django-anymail",
)
