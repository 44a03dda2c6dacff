"""CloudEvents: a bearer token, in one of two places. The project's library writes events in structured and binary mode."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from tests.providers.making.bodies import Body
from tests.providers.making.signer import AT, Case, Signer
from tests.providers.making.tokens import header_token_signer

event = import_module("cloudevents.core.v1.event")
http = import_module("cloudevents.core.bindings.http")
FORMAT = import_module("cloudevents.core.formats.json").JSONFormat()

TOKEN = "ce-token-41b8e0"
STRUCTURED, BATCHED = "application/cloudevents+json; charset=UTF-8", "application/cloudevents-batch+json; charset=UTF-8"
XML = '<much wow="xml"/>'
DATA = {"appinfoA": "abc", "appinfoB": 123, "appinfoC": True}
ATTRIBUTES = {
    "specversion": "1.0",
    "id": "A234-1234-1234",
    "source": "/mycontext",
    "type": "com.example.someevent",
    "time": datetime.fromtimestamp(AT, UTC),
    "subject": "larger-context",
    "datacontenttype": "application/json",
}
PLAIN: dict[str, Any] = {
    "specversion": "1.0",
    "id": "B234",
    "source": "/mycontext/4",
    "type": "com.example.someevent",
    "data": DATA,
}
CE = tuple((f"ce-{name}", str(PLAIN[name])) for name in ("specversion", "id", "source", "type"))


def _body(said: str, mode: str, data: Any, **changed: Any) -> Body:
    """Return an event as the library writes it; it must read the same back."""
    made = event.CloudEvent(attributes=ATTRIBUTES | changed, data=data)
    message = (http.to_binary if mode == "binary" else http.to_structured)(made, FORMAT)
    read = (http.from_binary if mode == "binary" else http.from_structured)(message, FORMAT)
    assert read.get_attributes() == made.get_attributes()
    headers = tuple((name, value) for name, value in message.headers.items() if name != "content-type")
    return Body(f"{mode}, {said}", message.body, headers, content_type=message.headers["content-type"])


def _bodies() -> Iterator[Body]:
    for mode in ("structured", "binary"):
        yield _body("JSON data", mode, DATA)
        yield _body("bytes that are no text", mode, b"\x00\xff\x01", datacontenttype="application/octet-stream")
        yield _body("XML", mode, XML, datacontenttype="application/xml")
        yield _body("extensions", mode, DATA, comexampleextension1="value")
        yield _body("space, euro, emoji and percent", mode, DATA, subject="Euro \u20ac \U0001f600 100%")


def more(signer: Signer) -> Iterator[Case]:
    def valid(said: str, content: Any, kind: str | None, *headers: tuple[str, str]) -> Case:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        body = Body(said, raw, headers, content_type=kind)
        return Case(said, signer.signed(body), valid=True, made_by="independent")

    yield valid("a batch of two", [PLAIN, PLAIN | {"id": "C234", "subject": None}], BATCHED)
    yield valid("an empty batch (no event)", [], BATCHED)
    yield valid("the media type in capitals", PLAIN, "Application/CloudEvents+JSON")
    yield valid("a quoted value with an escape", DATA, "application/json", *CE, ("ce-subject", '"a \\"b\\" %C3%A9"'))
    yield valid("needlessly encoded, in small digits", DATA, "application/json", *CE, ("ce-subject", "%c3%a9%41"))
    yield valid("neither data nor Content-Type", b"", None, *CE)
    good = signer.signed()
    bare = good.with_header("Authorization")
    in_query = replace(bare, url=f"{bare.url}?p=q&access_token={TOKEN}")
    yield Case("the token as the parameter access_token", in_query, valid=True)
    yield Case("the scheme in small letters", good.with_header("Authorization", f"bearer {TOKEN}"), valid=True)
    yield Case("the token in both places", replace(good, url=in_query.url))
    yield Case("another token in the query", replace(bare, url=f"{bare.url}?access_token={signer.other_secret}"))
    yield Case("the parameter twice", replace(bare, url=f"{in_query.url}&access_token={TOKEN}"))
    yield Case("a foreign token in the query beside the good one", replace(good, url=f"{good.url}?access_token=x"))
    yield Case("an escape that is not UTF-8 for a token", replace(bare, url=f"{bare.url}?access_token=%FF%C0"))


SIGNER = header_token_signer(
    header="Authorization",
    mark="Bearer ",
    secret=TOKEN,
    other_secret="ce-token-52c9f1",
    bodies=list(_bodies()),
    more=more,
    made_by="cloudevents",
)
