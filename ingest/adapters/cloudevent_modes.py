"""CloudEvents 1.0 in HTTP messages: the three content modes, each read as events in the JSON format.

Sources: the CloudEvents specification (attributes), its HTTP protocol binding 1.0.2 (modes, headers), its JSON format
(`data` and `data_base64`). An event whose data came as the body is stored as the same event in structured mode, so that
handlers meet one form.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from ingest.adapters.base import Parsed, RefusedError, Request, content_id
from ingest.adapters.clock import iso_ms
from ingest.adapters.limits import bounded, event_type, key
from ingest.adapters.splitting import ELEMENTS_MAX
from tidegate import jsontext

Mode = Literal["structured", "batched", "binary"]

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
HEADER = "ce-"

_OURS = "application/cloudevents"
_REQUIRED = ("id", "source", "specversion", "type")
_NAME = re.compile(r"[a-z0-9]+")
_LAST_OF_PLANES = "".join(chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17))
_NO_TEXT = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_LAST_OF_PLANES}]")
"""What the type String may not hold: control characters, surrogates, and code points that are no characters."""
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_JSON = re.compile(r"[^/]+/(?:json|[^/]+\+json)")
_TEXTS = re.compile(r"text/[^/]+|[^/]+/(?:xml|[^/]+\+xml)")
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^";\s]+)', re.IGNORECASE)


def takes(media_type: str) -> bool:
    """Tell whether ``media_type`` (lower case, without parameters) can be read: of the event formats only JSON can.

    Any other type is the data's own, in binary mode.
    """
    return not media_type.startswith(_OURS) or media_type in (STRUCTURED, BATCHED)


def mode_of(media_type: str) -> Mode:
    """Return the content mode that the Content-Type chooses; the batch's prefix begins with the other one."""
    if media_type.startswith(f"{_OURS}-batch"):
        return "batched"
    return "structured" if media_type.startswith(_OURS) else "binary"


def events(request: Request) -> list[Parsed]:
    """Return the events of ``request``; raise RefusedError(malformed_body | too_many_events) where it holds none.

    An element of a batch that is no event comes back with ``malformed`` set, for its neighbours' sake.
    """
    content_type = _content_type(request)
    media_type = content_type.partition(";")[0].strip().lower()
    if not takes(media_type):
        raise RefusedError("malformed_body", f"an event format that is not read: {STRUCTURED} and {BATCHED} are")
    mode = mode_of(media_type)
    try:
        if mode == "batched":
            found = jsontext.elements(request.body, count_max=ELEMENTS_MAX)
            return [_element(value, payload) for value, payload in found]
        if mode == "structured":
            return [_alone(jsontext.loads(request.body), request.body)]
        attributes = _attributes(request, content_type)
        return [_alone(attributes, _written(attributes, _data(request.body, content_type)))]
    except jsontext.NotJsonError as error:
        raise RefusedError("malformed_body", str(error)) from None
    except jsontext.TooManyError as error:
        raise RefusedError("too_many_events", str(error)) from None


def content_type_of(body: bytes, headers: Sequence[tuple[str, str]]) -> str:
    """Return what to send ``body`` as: headers that name attributes make it the data of an event."""
    if any(name.lower().startswith(HEADER) for name, _ in headers):
        return "application/json"
    return BATCHED if body.lstrip(b" \t\r\n").startswith(b"[") else STRUCTURED


def decoded(name: str, value: str) -> str:
    """Return the attribute that the header ``name`` holds: unquoted, then percent-decoded once.

    Raises RefusedError(malformed_body) where that gives no text: one reader would take bytes that are not UTF-8 for
    characters that another does not see, and `%C0%A0` for a space.
    """
    if not value.isascii():
        raise RefusedError("malformed_body", f"{name} holds what is not ASCII: that has to be percent-encoded")
    if value.startswith('"'):
        quoted = _QUOTED.fullmatch(value)
        if quoted is None:
            raise RefusedError("malformed_body", f"{name} begins with a quote that does not end it")
        value = _ESCAPED.sub(r"\1", quoted[1])
    try:
        text = unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedError("malformed_body", f"{name} is not UTF-8 when percent-decoded") from None
    if not _is_text(text):
        raise RefusedError("malformed_body", f"{name} is empty, or holds what no text may hold")
    return text


def _content_type(request: Request) -> str:
    types = request.values("content-type")
    if len(types) > 1:
        raise RefusedError("malformed_body", "Content-Type occurs more than once")
    return types[0].strip() if types else ""


def _attributes(request: Request, content_type: str) -> dict[str, str]:
    """Return the attributes of a request in binary mode."""
    attributes: dict[str, str] = {}
    for name, value in request.headers:
        attribute = name.removeprefix(HEADER)
        if attribute == name:
            continue
        if not _NAME.fullmatch(attribute) or attribute in ("data", "datacontenttype"):
            raise RefusedError("malformed_body", "a ce- header that is no attribute, or that Content-Type stands for")
        if attribute in attributes:
            raise RefusedError("malformed_body", "a ce- header occurs more than once")
        attributes[attribute] = decoded(name, value)
    if not attributes:
        raise RefusedError("malformed_body", f"no ce- header, and a Content-Type other than {STRUCTURED} and {BATCHED}")
    if content_type:
        if not _is_text(content_type):
            raise RefusedError("malformed_body", "Content-Type holds what no text may hold")
        attributes["datacontenttype"] = content_type
    return attributes


def _data(body: bytes, content_type: str) -> bytes:
    """Return the member for the data: JSON as its very bytes, text as text, all else in base64; empty without data."""
    if not body:
        return b""
    media_type = content_type.partition(";")[0].strip().lower()
    if _JSON.fullmatch(media_type):
        jsontext.loads(body)  # or it would be taken for what follows it
        return b', "data": ' + body
    text = _text(body, media_type, content_type)
    if text is not None:
        return b', "data": ' + json.dumps(text, ensure_ascii=False).encode()
    return b', "data_base64": "' + base64.b64encode(body) + b'"'


def _text(body: bytes, media_type: str, content_type: str) -> str | None:
    charset = _CHARSET.search(content_type)
    if charset is not None and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        return None
    if charset is None and not _TEXTS.fullmatch(media_type):
        return None
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if jsontext.is_storable(text) else None


def _written(attributes: Mapping[str, str], data: bytes) -> bytes:
    return json.dumps(attributes, ensure_ascii=False).encode()[:-1] + data + b"}"


def _alone(value: object, payload: bytes) -> Parsed:
    event = _element(value, payload)
    if event.malformed is not None:
        raise RefusedError("malformed_body", event.malformed)
    return event


def _element(value: object, payload: bytes) -> Parsed:
    fault = _fault(value)
    if isinstance(value, dict) and fault is None:
        return _event(value, payload)
    return Parsed(content_id(payload), "", None, "", payload, malformed=fault)


def _fault(value: object) -> str | None:
    """Return why ``value`` is no CloudEvent in the JSON format, None when it is one."""
    if not isinstance(value, dict):
        return "not an object"
    for name in _REQUIRED:
        held = value.get(name)
        if not isinstance(held, str) or not _is_text(held):
            return f"{name} is missing, or no text"
    if value["specversion"] != "1.0":
        return "specversion is not 1.0"
    if event_type(value["type"]) is None:
        return "type is not the name of a type"
    for name in ("subject", "time", "datacontenttype", "dataschema"):
        held = value.get(name)
        if held is not None and not isinstance(held, str):
            return f"{name} is no text"
    return _fault_of_data(value)


def _fault_of_data(value: Mapping[str, Any]) -> str | None:
    encoded = value.get("data_base64")
    if encoded is None:
        return None
    if "data" in value:
        return "data and data_base64 exclude each other"
    try:
        base64.b64decode(encoded if isinstance(encoded, str) else "?", validate=True)
    except (binascii.Error, ValueError):
        return "data_base64 is not base64"
    return None


def _event(value: Mapping[str, Any], payload: bytes) -> Parsed:
    """Return the event. Two are the same when both source and id are.

    A space stands between the two: what is a space in a source, which should have none, is written otherwise.
    """
    source = value["source"].replace("%", "%25").replace(" ", "%20")
    return Parsed(
        provider_event_id=bounded(f"{source} {value['id']}"),
        event_type=value["type"],
        occurred_at_ms=iso_ms(value.get("time")),
        key=key("subject", value.get("subject")),
        payload=payload,
    )


def _is_text(text: str) -> bool:
    return bool(text) and _NO_TEXT.search(text) is None
