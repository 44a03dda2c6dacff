"""Twilio: HMAC over the URL and the sorted fields of a form; over the URL with the hash of any other body. Its SDK makes both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from urllib.parse import parse_qs, urlencode

from tests.providers.making.bodies import FORM, Body, compact, form, pretty
from tests.providers.making.hmacs import usual
from tests.providers.making.request import Request
from tests.providers.making.signer import Case, Proof, Signer

validator = import_module("twilio.request_validator")
HEADER, SETTINGS, HASH = "X-Twilio-Signature", "X-Twilio-Webhooks-Signature-Settings", "bodySHA256"


class _Fields(dict[str, list[str]]):
    """What the SDK asks as it asks the forms of web frameworks."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


def _given(request: Request) -> _Fields | str:
    """Return what the SDK is given of a body: the fields of a form, or the text of anything else."""
    if request.value("Content-Type") == FORM:
        return _Fields(parse_qs(request.body.decode(), keep_blank_values=True))
    return request.body.decode()


def sign(request: Request, secret: str, stamp: str) -> Request:
    return _signed(request, secret, None)


def _signed(request: Request, secret: str, algorithm: str | None, *, url: str | None = None) -> Request:
    """Return ``request`` signed as for ``url``, where that is another than its own."""
    sdk, given = validator.RequestValidator(secret), _given(request)
    if isinstance(given, str):
        mark = "&" if "?" in request.url else "?"
        request = replace(request, url=f"{request.url}{mark}{HASH}={sdk.compute_hash(given)}")
        given = _Fields()
    return request.with_header(HEADER, sdk.compute_signature(url or request.url, given, algorithm))


def accepts(request: Request, secret: str) -> bool:
    settings = dict(request.headers).get(SETTINGS)
    algorithm = validator.get_signature_algorithm(settings)
    return bool(
        validator.RequestValidator(secret).validate(request.url, _given(request), request.value(HEADER), algorithm)
    )


def more(signer: Signer) -> Iterator[Case]:
    message, document = signer.signed(), signer.signed(signer.bodies[4])
    yield from _ports(signer)
    yield from _shared_keys(signer)
    turned = "&".join(reversed(message.body.decode().split("&"))).encode()
    yield Case("the fields in another order, which is not signed", message.with_body(turned), valid=True)
    queried = signer.signed(url=f"{signer.url}?foo=1&bar=2")
    yield Case("a query in the URL", queried, valid=True)
    yield Case("the parameters of the query in another order", replace(queried, url=f"{signer.url}?bar=2&foo=1"))
    yield Case("a field more", message.with_body(message.body + b"&Paid=1"))
    yield Case("a field less", message.with_body(message.body.rpartition(b"&")[0]))
    yield Case("another document under the hash of the first", document.with_body(b'{"status":"failed"}'))
    yield Case("no document under the hash of one", document.with_body(b""))
    yield Case("the hash of another document in the URL", replace(document, url=f"{document.url[:-4]}0000"))
    yield Case("no hash in the URL", replace(document, url=signer.url))
    yield Case("the hash twice", replace(document, url=f"{document.url}&{HASH}=0"))
    empty = document.with_header("Content-Type", FORM)
    yield Case("a document sent again as an empty form", empty.with_body(b""))
    yield Case("a document sent again as a form of nothing", empty.with_body(b"="))
    yield Case("a form sent again as a document", message.with_header("Content-Type", "application/json"))


def _ports(signer: Signer) -> Iterator[Case]:
    bare = signer.signed()
    https, http = signer.url, signer.url.replace("https://", "http://")
    host = https.split("/")[2]
    for said, called, signed_as in (
        ("signed with the port of https", https, https.replace(host, f"{host}:443")),
        ("signed with the port of http", http, http.replace(host, f"{host}:80")),
        ("called at another port, signed without", https.replace(host, f"{host}:8443"), https),
        (
            "called at another port, signed with it",
            https.replace(host, f"{host}:8443"),
            https.replace(host, f"{host}:8443"),
        ),
    ):
        yield Case(said, _signed(replace(bare, url=called), signer.secret, None, url=signed_as), valid=True)
    wrong = https.replace(host, f"{host}:80")
    yield Case("signed with the port of http, called with https", _signed(bare, signer.secret, None, url=wrong))


def _shared_keys(signer: Signer) -> Iterator[Case]:
    bare = signer.signed()
    newer = _signed(bare, signer.secret, "HMAC_SHA256")

    def announced(said: str, request: Request, *texts: str, valid: bool = False) -> Case:
        return Case(said, request.with_header(SETTINGS, *texts), valid=valid)

    yield announced("a shared key: SHA-256", newer, "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256", valid=True)
    yield announced("a shared key: SHA-1 by name", bare, "key=k,algorithm=HMAC_SHA1", valid=True)
    yield announced("settings without an algorithm", bare, "key=k", valid=True)
    yield Case("SHA-256 that nothing announces", newer)
    yield announced("SHA-1 where SHA-256 is announced", bare, "key=k,algorithm=HMAC_SHA256")
    yield announced("an algorithm that nobody knows, over SHA-1", bare, "key=k,algorithm=HMAC_MD5")
    yield announced("an algorithm that nobody knows, over SHA-256", newer, "key=k,algorithm=HMAC_SHA512")
    yield announced("the settings twice", newer, "algorithm=HMAC_SHA256", "algorithm=HMAC_SHA256")


MESSAGE = {
    "MessageSid": "SM1",
    "MessageStatus": "delivered",
    "To": "+15550101",
    "From": "+15550100",
    "AccountSid": "AC1",
}
SIGNER = Signer(
    secret="12345f0e1d2c3b4a59687766554433aa",
    other_secret="00000000000000000000000000000000",
    bodies=[
        Body("a message's status", form(MESSAGE), content_type=FORM),
        Body(
            "an incoming message, with unicode",
            form({**MESSAGE, "SmsSid": "SM2", "Body": "Olé 👋 你好 & = +"}),
            content_type=FORM,
        ),
        Body(
            "a call, with digits",
            form({"CallSid": "CA1", "CallStatus": "in-progress", "Digits": ""}),
            content_type=FORM,
        ),
        Body(
            "a field that is repeated",
            urlencode([("MessageSid", "SM3"), ("MediaUrl", "b"), ("MediaUrl", "a"), ("MediaUrl", "b")]).encode(),
            content_type=FORM,
        ),
        Body("JSON", compact({"id": "EZ1", "specversion": "1.0", "type": "com.twilio.messaging.message.sent"})),
        Body(
            "two events of Event Streams, over several lines",
            pretty([{"id": name, "specversion": "1.0", "type": "com.twilio.voice.ended"} for name in ("EZ2", "EZ3")]),
        ),
        Body("a status that nobody knows", form({"MessageSid": "SM4", "MessageStatus": "pondered"}), content_type=FORM),
    ],
    sign=sign,
    accepts=accepts,
    proof=Proof(HEADER, encoding="base64"),
    hostile=usual(None, signs_url=True),
    more=more,
    made_by="twilio",
    asked="twilio",
)
