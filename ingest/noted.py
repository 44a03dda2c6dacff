"""A refusal as the gate noted it, and the record that is made of it: what the client said of itself is in it, redacted."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ingest.adapters.base import Adapter, RefusalReason, Request
from tidegate.stream import Rejected
from tidegate.telemetry import metrics, redaction

GateReason = Literal[
    "unknown_source",
    "method",
    "content_type",
    "encoding",
    "too_large",
    "headers",
    "too_slow",
    "rate_limited",
    "depth",
    "not_https",
]
"""Why the gate itself refuses, before or after an adapter has looked."""
REASONS: tuple[str, ...] = (*get_args(RefusalReason), *get_args(GateReason))

_RAW_CHARS_MAX = 512
_SOURCE_CHARS_MAX = 64
_WORD_CHARS_MAX = 100
_AGENT_CHARS_MAX = 150
_DETAIL_CHARS_MAX = 500
_SIGNATURE_CHARS_MIN = 8
"""Shorter values of secret headers are version numbers."""

_NOT_IN_WORDS = re.compile(r"[^A-Za-z0-9._~:/+*-]")
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")
_QUERY_VALUE = re.compile(r"([?&;][^=\s&;]{1,64}=)[^\s&;)]{1,512}")
_PARTS = re.compile(r"[\s,;=]+")

ADVICE: Mapping[str, str] = {
    "unknown_source": "no source of this name is configured: check the URL at the provider, or add [sources.NAME]",
    "method": "webhooks are sent with POST: is it a browser, or a check of the URL?",
    "content_type": "not a content type that this provider sends: does something in between rewrite the request?",
    "encoding": "packed in a way that the gate does not read, or not as its header says",
    "too_large": "the body, unpacked, is larger than ingest.body_bytes_max",
    "headers": "the headers are larger than ingest.header_bytes_max, or are no HTTP",
    "too_slow": "the request did not arrive within ingest.header_seconds and ingest.body_seconds",
    "rate_limited": "more requests than the source's rate_per_second or ingest.address_rate_per_second allows",
    "depth": "the body is nested deeper than ingest.json_depth_max",
    "not_https": "came in plain HTTP, and ingest.require_https is set: give the provider the https:// URL, and name the proxy "
    "that ends TLS in ingest.trusted_proxies",
    "too_many_events": "more events in one request than ingest.events_max",
}
"""What to say where whoever refused said nothing."""


@dataclass(slots=True)
class Note:
    """A refusal as it was noted; texts of the client's are as they came. ``detail`` is a sentence of ours."""

    at_seconds: float
    source: str
    status: int
    reason: str
    detail: str
    adapter: Adapter | None
    request: Request | None
    scheme: str
    body_bytes: int
    clock_seconds: float | None
    address: str
    request_id: str
    content_type: str
    user_agent: str
    suppressed: int = 0


def record(noted: Note, adapters: Mapping[str, Adapter]) -> Rejected:
    """Return the record of ``noted``, without any secret of ``adapters`` or of its own, and any signature it bore."""
    signatures = _signatures(noted.request, noted.adapter.secret_headers if noted.adapter else frozenset())
    guards = {id(adapter): adapter for adapter in (noted.adapter, *adapters.values()) if adapter}.values()

    def said(text: str) -> str:
        text = _whole(text)
        for adapter in guards:
            text = adapter.masked(text)
        return _without(text, signatures)

    def word(text: str, chars_max: int = _WORD_CHARS_MAX) -> str:
        return _NOT_IN_WORDS.sub("?", said(text))[:chars_max]

    configured = metrics.source_label(noted.source) == noted.source
    clock = noted.clock_seconds
    return Rejected(
        id=secrets.token_hex(8),
        at_ms=int(noted.at_seconds * 1000),
        source=noted.source if configured else word(noted.source, _SOURCE_CHARS_MAX),
        provider=noted.adapter.provider if noted.adapter else "",
        status=noted.status,
        reason=noted.reason,
        detail=_sentence(noted.detail)[:_DETAIL_CHARS_MAX],
        scheme=noted.scheme,
        clock_seconds=None if clock is None else round(clock, 3),
        bytes=noted.body_bytes,
        content_type=word(noted.content_type.partition(";")[0].strip()),
        address=word(noted.address),
        request_id=word(noted.request_id),
        user_agent=_sentence(said(noted.user_agent))[:_AGENT_CHARS_MAX],
        suppressed=noted.suppressed,
    )


def _sentence(text: str) -> str:
    shown = _NOT_PRINTABLE.sub("?", text)
    return redaction.text(_QUERY_VALUE.sub(rf"\1{redaction.MASK}", shown))


def _whole(text: str) -> str:
    """Return ``text``, or how long it is: cut before it is masked, half a secret would stay."""
    return text if len(text) <= _RAW_CHARS_MAX else f"*{len(text)}*"


def _signatures(request: Request | None, proofs: frozenset[str]) -> list[str]:
    """Return the values of a request's secret headers, and their parts, in lower case, longest first."""
    found: set[str] = set()
    for name, value in request.headers if request else ():
        if name in proofs or redaction.is_secret_name(name):
            found.update(part for part in (value, *_PARTS.split(value)) if len(part) >= _SIGNATURE_CHARS_MIN)
    return sorted({part.lower() for part in found}, key=len, reverse=True)


def _without(text: str, signatures: Sequence[str]) -> str:
    """Return ``text`` with each of ``signatures`` masked, whatever its case.

    By search and not by a pattern: one made of what a client sends takes long to compile, and `re` would keep it.
    """
    lower = text.lower()
    if len(lower) != len(text):  # a letter of two; what is where cannot be told any more
        return redaction.MASK if any(part in lower for part in signatures) else text
    for part in signatures:
        at = lower.find(part)
        while at >= 0:
            text = text[:at] + redaction.MASK + text[at + len(part) :]
            lower = lower[:at] + redaction.MASK + lower[at + len(part) :]
            at = lower.find(part, at + len(redaction.MASK))
    return text
