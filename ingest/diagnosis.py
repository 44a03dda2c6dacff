"""Why a signature fails: the small difference under which it would be good is the fault.

For the operator alone. What is found says something of the secret and of what was signed, which no client may learn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from ingest import misreadings
from ingest.adapters import catalogue
from ingest.adapters.base import Adapter, RefusedError, Request
from ingest.adapters.declaration import Signature
from ingest.adapters.declared import DeclaredAdapter
from ingest.adapters.in_words import Worded
from ingest.adapters.verifier import all_of
from tidegate import jsontext
from tidegate.errors import UsageError
from tidegate.telemetry import redaction

BODY_BYTES_MAX = 65_536
"""Of larger bodies only the URL is varied: each variant is hashed whole, and to write JSON anew takes ten times as long."""
OTHERS_MAX = 32
"""Sources of the same provider whose secrets are tried."""
_HOST_CHARS_MAX = 255
_SHOWN_CHARS_MAX = 200
_MISREAD = frozenset({"malformed_signature", "wrong_scheme"})
"""Under these the signature was not read at all: nothing but another reading can help."""
EXPLAINED = frozenset({"bad_signature", "stale", "future"}) | _MISREAD


def difference(
    adapter: Adapter, request: Request, now_seconds: float, *, others: Mapping[str, Adapter] | None = None
) -> str | None:
    """Return the difference under which ``request`` would be authentic, as a sentence for the operator.

    None where the request is good as it is, or no difference is found, or the fault is none of the signature. ``others`` are
    the configured sources by name, whose secrets the sender may have taken. Never raises, and quotes neither secret,
    signature nor body; of the URL at most scheme, host and path. Some 100 checks of a signature: some milliseconds.
    """
    refusal = _refusal(adapter, request, now_seconds)
    if refusal is None or refusal.reason not in EXPLAINED:
        return None
    # Whatever is wrong with the clock, the signature is looked at as of the moment it was made.
    behind = adapter.clock_difference(request, now_seconds)
    signed_at = now_seconds if behind is None else now_seconds - behind
    late = f"; moreover it was {refusal.detail}" if refusal.reason in ("stale", "future") else ""
    if refusal.reason in _MISREAD:
        return _misread(adapter, request, signed_at)
    if late and _refusal(adapter, request, signed_at) is None:
        return f"good but for the clock: {refusal.detail}"
    trimmed = adapter.trimmed()
    if trimmed is not None and _refusal(trimmed, request, signed_at) is None:
        return f"good with the secret without the space or newline around it: take that off{late}"
    for name, other in _siblings(adapter, others or {}):
        if _refusal(other, request, signed_at) is None:
            return f"good with the secret of source {name}: the URL at the provider, or the secrets, are mixed up{late}"
    for change, variant in _variants(adapter, request):
        if _refusal(adapter, variant, signed_at) is None:
            return f"good {change}{late}"
    misread = _misread(adapter, request, signed_at)
    return None if misread is None else f"{misread}{late}"


def sender(adapter: Adapter, request: Request, now_seconds: float) -> str | None:
    """Return which other provider's contract ``request`` fulfils with these secrets, as a sentence; None where no one's.

    All that Tidegate brings are tried whose headers are there: for a command line, not for a gate.
    """
    if not isinstance(adapter, DeclaredAdapter):
        return None
    borne = {name for name, _ in request.headers}
    for name in catalogue.names():
        words = catalogue.declaration(name)
        headers = {header for found in words.signatures for header in all_of(found.header or _standard(found))}
        if name == adapter.provider or not headers & borne:
            continue
        with suppress(UsageError):  # these secrets are none of that provider's
            other = adapter.otherwise(words=words)
            if _refusal(other, request, now_seconds) is None:
                return f"good as a request of {words.title or name}: is the source's provider to be {name}?"
    return None


def _standard(words: Signature) -> list[str]:
    return [f"{prefix}-signature" for prefix in words.prefixes] if words.kind == "standard-webhooks" else []


def _misread(adapter: Adapter, request: Request, signed_at: float) -> str | None:
    judged = adapter.in_words(request) if isinstance(adapter, Worded) else None
    if judged is None or len(request.body) > BODY_BYTES_MAX:
        return None
    found = misreadings.found(judged, signed_at)
    return None if found is None else f"good with {found}"


def _refusal(adapter: Adapter, request: Request, now_seconds: float) -> RefusedError | None:
    try:
        adapter.verify(request, now_seconds)
    except RefusedError as refusal:
        return refusal
    return None


def _siblings(adapter: Adapter, others: Mapping[str, Adapter]) -> list[tuple[str, Adapter]]:
    found = [
        (name, other) for name, other in others.items() if other is not adapter and other.provider == adapter.provider
    ]
    return found[:OTHERS_MAX]


def _variants(adapter: Adapter, request: Request) -> Iterator[tuple[str, Request]]:
    for change, url in _urls(request, adapter.masked):
        yield change, replace(request, url=url)
    if request.method != "POST":
        yield "for the method POST", replace(request, method="POST")
    if len(request.body) > BODY_BYTES_MAX:
        return
    for change, body in _bodies(request.body):
        yield change, replace(request, body=body)


def _urls(request: Request, masked: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Give the URLs that the provider may have been told: by another scheme, host or spelling than we were."""
    url = request.url
    for scheme, other in (("https://", "http://"), ("http://", "https://")):
        if url.startswith(scheme):
            turned = other + url[len(scheme) :]
            yield f"for {other} instead of {scheme}: set public_url to {shown_url(turned, masked)}", turned
    path, mark, query = url.partition("?")
    slashed = path[:-1] if path.endswith("/") else path + "/"
    yield (
        f"with the slash at the URL's end the other way: set public_url to {shown_url(slashed, masked)}",
        slashed + mark + query,
    )
    if mark:
        yield "for the URL without its query: a proxy adds one", path
    _, slashes, rest = url.partition("://")
    if not slashes:
        return
    _, slash, tail = rest.partition("/")
    for host in _hosts(request):
        for scheme in ("https://", "http://"):
            named = f"{scheme}{host}{slash}{tail}"
            if named != url:
                yield f"for the host that the request names: set public_url to {shown_url(named, masked)}", named


def _hosts(request: Request) -> list[str]:
    """Return the host as the client wrote it, and as the proxy in front of us says that it did."""
    found = [
        value.strip()
        for name in ("host", "x-forwarded-host")
        for value in request.values(name)[:1]
        if 0 < len(value) <= _HOST_CHARS_MAX
    ]
    return list(dict.fromkeys(found))


def shown_url(url: str, masked: Callable[[str], str]) -> str:
    """Return ``url`` fit to be shown: without its query, secrets, what cannot be printed, and an end out of sight."""
    try:
        bare = masked(redaction.without_password(urlsplit(url)._replace(query="", fragment="").geturl()))
    except ValueError:
        return "the URL that the provider was given"
    return "".join(char if char.isprintable() else "?" for char in bare[:_SHOWN_CHARS_MAX])


def _bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    trimmed = body.strip(b"\r\n")
    if trimmed != body:
        yield "without the newline around the body: something added it", trimmed
    yield "with a newline after the body: something took it off", body + b"\n"
    if b"\n" in body:
        unix = body.replace(b"\r\n", b"\n")
        swapped = unix if unix != body else body.replace(b"\n", b"\r\n")
        yield "with the body's line ends the other way (LF, CRLF): something rewrote them", swapped
    for written in _rewritten(body):
        yield "for the same JSON written otherwise: something parsed it and wrote it again", written


def _rewritten(body: bytes) -> Iterator[bytes]:
    """Give ``body`` as the usual libraries write it: compact and spaced, with and without escapes."""
    try:
        value = jsontext.loads(body)
    except jsontext.NotJsonError:
        return
    for separators in ((",", ":"), (", ", ": ")):
        for ascii_only in (False, True):
            try:
                yield json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode()
            except (ValueError, TypeError, RecursionError):  # a number or surrogate that Python cannot write
                return
