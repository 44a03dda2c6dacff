"""HubSpot: signatures v1, v2 and v3; arrays of CRM events and free bodies, or parameters, of workflow webhooks.

Sources: HubSpot's "Validating requests" (signatures, the table of escapes, five minutes) and webhooks guide (fields,
``eventId`` not guaranteed to be unique, any 4xx is sent again); the official Python and Node clients agree on the
bytes that are signed.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from ingest.adapters import clock
from ingest.adapters.base import JsonSender, Parsed, RefusedError, Request, content_id, same, usable
from ingest.adapters.clock import check_fresh, epoch_ms, iso_ms, signed_time
from ingest.adapters.declaration import Signature, Timestamp
from ingest.adapters.in_words import InWords
from ingest.adapters.limits import bounded, event_type, identifier, key
from ingest.adapters.splitting import gathered
from ingest.adapters.values import parameters
from tidegate import jsontext

Version = Literal["v1", "v2", "v3"]

SIGNATURE_V3 = "X-HubSpot-Signature-v3"
TIMESTAMP = "X-HubSpot-Request-Timestamp"
SIGNATURE = "X-HubSpot-Signature"
SIGNATURE_VERSION = "X-HubSpot-Signature-Version"

_ESCAPES = {
    "%3A": ":",
    "%2F": "/",
    "%3F": "?",
    "%40": "@",
    "%21": "!",
    "%24": "$",
    "%27": "'",
    "%28": "(",
    "%29": ")",
    "%2A": "*",
    "%2C": ",",
    "%3B": ";",
}
_ESCAPE = re.compile("|".join(_ESCAPES), re.IGNORECASE)

_LIKELY = (
    "another secret, or the URL or the body was changed on its way: compare the app's client secret, and public_url with the "
    "URL that HubSpot calls"
)
_LIKELY_V1 = "another secret, or the body was changed on its way: compare the app's client secret"

_ELEMENTS_MAX = 10_000
"""A hundred times what HubSpot sends at once. A million of the shortest fit into a body, and would keep all others waiting."""
_OBJECT_TYPES = {"0-1": "contact", "0-2": "company", "0-3": "deal", "0-5": "ticket"}
"""What ``object.*`` subscriptions call what ``contact.*`` and its like name: one contact must have one key."""


@dataclass(frozen=True, slots=True)
class WorkflowFields:
    """Where a workflow webhook's free body holds what an event needs: dotted paths into the JSON object.

    ``id`` must differ from event to event: a record's id there would make all later events of that record duplicates.
    ``key`` is the path of the contact's id.
    """

    id: str = "eventId"
    type: str = "event"
    occurred_at: str = "occurredAt"
    key: str = "contactId"


DEFAULT_WORKFLOW = WorkflowFields()


class HubSpotAdapter(JsonSender):
    """One HubSpot app. ``secrets`` are its client secrets: HubSpot signs with one, so give the old and the new.

    ``require_v3`` refuses requests that carry only the older signatures: those cover no time, so that whoever has seen
    a request can send it again. ``sign_as`` is what `sign` makes.
    """

    provider = "hubspot"
    methods = frozenset({"POST", "GET"})
    """A workflow's webhook may be a GET, whose parameters are the event."""
    # statuses: HubSpot repeats after any 4xx or 5xx, ten times within a day.

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        tolerance_seconds: int = 300,
        workflow: WorkflowFields = DEFAULT_WORKFLOW,
        require_v3: bool = False,
        sign_as: Version = "v3",
    ) -> None:
        given = usable(secrets)
        super().__init__(given)
        self._secrets = tuple(secret.encode() for secret in given)
        self._tolerance_seconds = tolerance_seconds
        self._workflow = workflow
        self._require_v3 = require_v3
        self._sign_as = sign_as

    def trimmed(self) -> Self | None:
        """Return the same with the space around its secrets taken off; None when there is none."""
        bare = tuple(secret.strip() for secret in self._secrets)
        if bare == self._secrets or not all(bare):
            return None
        same_but_for_that = copy.copy(self)
        same_but_for_that._secrets = bare
        return same_but_for_that

    def scheme(self, request: Request) -> str:
        """Return the versions present, joined by `+`; `unknown` stands for an older signature of no version we know."""
        found = ["v3"] if request.values(SIGNATURE_V3.lower()) else []
        if request.values(SIGNATURE.lower()):
            versions = request.values(SIGNATURE_VERSION.lower())
            found.append(versions[0] if len(versions) == 1 and versions[0] in ("v1", "v2") else "unknown")
        return "+".join(found) or "none"

    def clock_difference(self, request: Request, now_seconds: float) -> float | None:
        """Return how far X-HubSpot-Request-Timestamp is behind ours; None without a readable one."""
        return clock.difference(request.values(TIMESTAMP.lower()), now_seconds, per_second=1000)

    def verify(self, request: Request, now_seconds: float) -> int:
        """Check v3 where its header is there, even an empty one, and else v1 or v2.

        A v3 that fails is never rescued by a v1 next to it: an attacker could replay old requests that way.
        """
        if request.header(SIGNATURE_V3.lower()) is not None:
            return self._verify_v3(request, now_seconds)
        if self._require_v3:
            raise RefusedError("missing_header", f"{SIGNATURE_V3} is missing, and require_v3 is set")
        if request.header(SIGNATURE.lower()) is None:
            raise RefusedError("missing_header", f"neither {SIGNATURE_V3} nor {SIGNATURE}: is it HubSpot that calls?")
        return self._verify_older(request)

    def split(self, request: Request) -> list[Parsed]:
        """Cut an array into CRM events, or take an object, or the parameters of a GET, as one workflow event."""
        if request.method == "GET" and not request.body:
            return [self._of_parameters(request)]
        try:
            if request.body.lstrip(b" \t\r\n").startswith(b"["):
                found = jsontext.elements(request.body, count_max=_ELEMENTS_MAX)
                return [crm_event(value, payload) for value, payload in found]
            value = jsontext.loads(request.body)
        except jsontext.NotJsonError as error:
            raise RefusedError("malformed_body", str(error)) from None
        except jsontext.TooManyError as error:
            raise RefusedError("too_many_events", str(error)) from None
        if not isinstance(value, dict):
            raise RefusedError("malformed_body", "neither an array nor an object: HubSpot sends one of them")
        return [workflow_event(value, request.body, self._workflow)]

    def sign(
        self,
        body: bytes,
        *,
        url: str,
        now_seconds: float,
        message_id: str,
        headers: Sequence[tuple[str, str]] = (),
    ) -> tuple[list[tuple[str, str]], bytes]:
        """Sign as HubSpot does: v3 and beside it v1 for arrays, v2 for workflow bodies; or one of the older alone.

        ``message_id`` is not used: HubSpot names no request.
        """
        secret = self._secrets[0]
        made = [*headers, ("Content-Type", "application/json")]
        if self._sign_as == "v3":
            timestamp = str(int(now_seconds * 1000))
            made += [
                (SIGNATURE_V3, signature_v3(secret, "POST", url, body, timestamp)),
                (TIMESTAMP, timestamp),
            ]
        if self._sign_as == "v1" or (self._sign_as == "v3" and body.lstrip().startswith(b"[")):
            made += [(SIGNATURE, signature_v1(secret, body)), (SIGNATURE_VERSION, "v1")]
        else:
            made += [(SIGNATURE, signature_v2(secret, "POST", url, body)), (SIGNATURE_VERSION, "v2")]
        return made, body

    def in_words(self, request: Request) -> InWords | None:
        """Return what decides over ``request``: v3 where its header is there, else the version that is named."""
        secrets = [secret.decode("utf-8", "surrogateescape") for secret in self._secrets]
        if not request.values(SIGNATURE_V3.lower()) and request.values(SIGNATURE.lower()) and not self._require_v3:
            named = request.values(SIGNATURE_VERSION.lower())
            signed = {"v1": "{secret}{body}", "v2": "{secret}{method}{url}{body}"}.get(named[0] if named else "")
            if signed is None:
                return None
            older = Signature(kind="digest", header=SIGNATURE, signed=signed)
            return InWords(self.provider, older, None, request, secrets, self._tolerance_seconds)
        v3 = Signature(kind="hmac", header=SIGNATURE_V3, encoding="base64", signed="{method}{url}{body}{timestamp}")
        decoded = replace(request, url=decode_escapes(request.url))
        timestamp = Timestamp(header=TIMESTAMP, unit="ms")
        return InWords(self.provider, v3, timestamp, decoded, secrets, self._tolerance_seconds)

    def _of_parameters(self, request: Request) -> Parsed:
        if self.scheme(request) == "v1":
            raise RefusedError(
                "malformed_body", "a GET signed v1: that covers no URL, so its parameters may be anybody's"
            )
        value = gathered(parameters(request.url))
        event = workflow_event(value, json.dumps(value, ensure_ascii=False).encode(), self._workflow)
        if identifier(_at(value, self._workflow.id)) is None:
            # The hash of parameters alone would take two events of one record for one.
            raise RefusedError("no_event_id", f"a GET without {self._workflow.id}, which tells an event from another")
        return event

    def _verify_v3(self, request: Request, now_seconds: float) -> int:
        given = _needed(request, SIGNATURE_V3)
        timestamp = _needed(request, TIMESTAMP)
        check_fresh(signed_time(timestamp, TIMESTAMP) / 1000, now_seconds, self._tolerance_seconds)
        for index, secret in enumerate(self._secrets):
            if same(signature_v3(secret, request.method, request.url, request.body, timestamp), given):
                return index
        raise RefusedError("bad_signature", f"v3: {_LIKELY}")

    def _verify_older(self, request: Request) -> int:
        given = _needed(request, SIGNATURE)
        version = _needed(request, SIGNATURE_VERSION)
        if version not in ("v1", "v2"):
            raise RefusedError("wrong_scheme", f"{SIGNATURE_VERSION} is neither v1 nor v2: this adapter knows no other")
        for index, secret in enumerate(self._secrets):
            expected = (
                signature_v1(secret, request.body)
                if version == "v1"
                else signature_v2(secret, request.method, request.url, request.body)
            )
            if same(expected, given):
                return index
        raise RefusedError("bad_signature", f"{version}: {_LIKELY_V1 if version == 'v1' else _LIKELY}")


def signature_v1(secret: bytes, body: bytes) -> str:
    """Return hex(SHA-256(secret, body)).

    No HMAC, so whoever holds one signed body can sign a longer one; but the longer one holds the hash's padding, whose
    first byte 0x80 cannot stand there in UTF-8, so `split` refuses it.
    """
    return hashlib.sha256(secret + body).hexdigest()


def signature_v2(secret: bytes, method: str, url: str, body: bytes) -> str:
    """Return hex(SHA-256(secret, method, URL exactly as called, body))."""
    return hashlib.sha256(secret + _bytes(method + url) + body).hexdigest()


def signature_v3(secret: bytes, method: str, url: str, body: bytes, timestamp: str) -> str:
    """Return base64(HMAC-SHA-256(secret; method, URL with the documented escapes decoded, body, timestamp))."""
    signed = _bytes(method + decode_escapes(url)) + body + _bytes(timestamp)
    return base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def decode_escapes(url: str) -> str:
    """Decode the twelve escapes that HubSpot lists for v3 and no other, once.

    Either case of the hex digits, since RFC 3986 makes them equal and HubSpot's list says nothing of case.
    """
    return _ESCAPE.sub(lambda found: _ESCAPES[found[0].upper()], url)


def crm_event(value: object, payload: bytes) -> Parsed:
    """Return the event in one array element; one that is none comes back with ``malformed`` set.

    The id is made of several fields because ``eventId`` is documented as not unique: one change of two properties can
    bear one eventId. ``attemptNumber`` stays out (it differs when the same event is sent again), and so does
    ``subscriptionId`` (an event that two subscriptions match happened once).
    """
    if not isinstance(value, dict):
        return _malformed(payload, "not an object")
    fault = _fault(value)
    if fault is not None:
        return _malformed(payload, fault)
    kind: str = value["subscriptionType"]
    if "fromObjectId" in value:
        subject, subject_type = value["fromObjectId"], value.get("fromObjectTypeId")
        about = f"{subject}>{value['toObjectId']}"
    else:
        subject, subject_type = value["objectId"], value.get("objectTypeId")
        about = str(subject)
    parts = [value["portalId"], kind, about, value["eventId"], value["occurredAt"]]
    parts += [value[name] for name in ("associationType", "propertyName") if value.get(name) is not None]
    noun = kind.partition(".")[0]
    if noun == "object" and isinstance(subject_type, str):
        noun = _OBJECT_TYPES.get(subject_type, subject_type)
    return Parsed(
        provider_event_id=bounded(":".join(map(str, parts))),
        event_type=kind,
        occurred_at_ms=value["occurredAt"],
        key=key(noun, subject),
        payload=payload,
    )


def _malformed(payload: bytes, fault: str) -> Parsed:
    return Parsed(content_id(payload), "", None, "", payload, malformed=fault)


def _fault(value: dict[str, Any]) -> str | None:
    subject = ("fromObjectId", "toObjectId") if "fromObjectId" in value else ("objectId",)
    for name in ("portalId", "eventId", *subject):
        if type(value.get(name)) is not int:
            return f"{name} is not an integer"
    if epoch_ms(value.get("occurredAt")) is None:
        return "occurredAt is not Unix milliseconds"
    # A colon would let two different events have one id.
    if event_type(value.get("subscriptionType")) is None or ":" in value["subscriptionType"]:
        return "subscriptionType is not the name of a type"
    for name in ("associationType", "propertyName"):
        if value.get(name) is not None and event_type(value[name]) is None:
            return f"{name} is not a name"
    return None


def workflow_event(value: dict[str, Any], payload: bytes, fields: WorkflowFields) -> Parsed:
    """Return the one event in a workflow webhook's body, which holds whatever its author put there."""
    named = identifier(_at(value, fields.id))
    kind = _at(value, fields.type)
    moment = _at(value, fields.occurred_at)
    return Parsed(
        provider_event_id=content_id(payload) if named is None else bounded(named),
        event_type=(event_type(f"workflow.{kind}") if isinstance(kind, str) and kind else None) or "workflow",
        occurred_at_ms=_moment_ms(moment),
        key=key("contact", _at(value, fields.key)),
        payload=payload,
    )


def _moment_ms(value: object) -> int | None:
    # HubSpot's own dates are milliseconds, which a body's author may have put in quotes.
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:
        return epoch_ms(int(value))
    return epoch_ms(value) if type(value) is int else iso_ms(value)


def _at(value: object, path: str) -> object:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _needed(request: Request, name: str) -> str:
    value = request.header(name.lower())
    if not value:
        raise RefusedError(
            "missing_header", f"{name} is {'missing' if value is None else 'empty'}: does a proxy drop it?"
        )
    return value


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a URL with a lone surrogate is refused by its signature, not by us
