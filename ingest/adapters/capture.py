"""Captured requests, checked again: what `tidegate verify` says about each line of its file."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ingest import diagnosis, explaining
from ingest.adapters import build
from ingest.adapters.base import Adapter, RefusedError, Request
from ingest.steps import Step
from tidegate.errors import UsageError

_ANSWERED = "a handshake, which the gate answers with {}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason`` is `valid`, a RefusalReason, `bad_line` or `config_error`; ``detail`` is a sentence for the operator.

    ``steps`` are how it was judged; none of what is no request.
    """

    valid: bool
    reason: str
    detail: str
    steps: Sequence[Step] = ()


class _BadLineError(ValueError):
    """The line is not a captured request; the text says what is wrong with it."""


def check(
    line: object,
    *,
    default_adapter: Adapter | None,
    default_now: float,
    labels: Sequence[str] = (),
    others: Mapping[str, Adapter] | None = None,
    own: Mapping[str, Mapping[str, Any]] | None = None,
) -> Verdict:
    """Return whether the captured request in ``line`` is authentic, and if not, why as far as can be told.

    ``line`` is the parsed JSON: ``method``, ``url``, ``headers`` as [name, value] pairs, ``body`` (text, sent as UTF-8)
    or ``body_base64``; and where they differ from the defaults ``provider``, ``secret`` (or a list of them), ``options``
    of its source and ``at`` (or ``now``), the Unix seconds at which to check. ``labels`` are those of the default's secrets,
    ``others`` the configured sources, ``own`` the declarations of the user's own providers. Never raises for what is in
    the line.
    """
    try:
        held = _object(line)
        request = _request(held)
        now_seconds = _now(held, default_now)
        adapter = _adapter(held, default_adapter, own or {})
    except _BadLineError as error:
        return Verdict(False, "bad_line", str(error))
    except UsageError as error:
        return Verdict(False, "config_error", str(error))
    named = labels if adapter is default_adapter else ()
    judged = explaining.steps(adapter, request, now_seconds, labels=named)
    refusal = _refusal(adapter, request, now_seconds)
    if refusal is not None and request.method in adapter.greets - adapter.methods - {"POST"}:
        # No event comes by this method, so that nobody signs it: the handshake itself is all there is to check.
        greeted, refusal = _greeted(adapter, request, now_seconds, refusal)
        if greeted is not None:
            return Verdict(True, "valid", greeted, judged)
    if refusal is None:
        return Verdict(True, "valid", _what_follows(adapter, request, now_seconds), judged)
    found = diagnosis.difference(adapter, request, now_seconds, others=others)
    found = found or diagnosis.sender(adapter, request, now_seconds)
    likely = found or refusal.detail
    return Verdict(False, refusal.reason, likely, [*judged, Step("cause", likely)])


def _object(line: object) -> Mapping[str, Any]:
    if not isinstance(line, Mapping):
        raise _BadLineError("the line is not a JSON object")
    return line


def _request(held: Mapping[str, Any]) -> Request:
    return Request(
        method=_text(held, "method", "POST"),
        url=_text(held, "url", ""),
        headers=_headers(held.get("headers", [])),
        body=_body(held),
    )


def _text(held: Mapping[str, Any], name: str, default: str) -> str:
    value = held.get(name, default)
    if not isinstance(value, str):
        raise _BadLineError(f"{name} is not a text")
    return value


def _headers(pairs: object) -> list[tuple[str, str]]:
    found = []
    for pair in pairs if isinstance(pairs, list) else [None]:
        match pair:
            case [str(name), str(value)]:
                found.append((name.lower(), _as_received(value)))
            case _:
                raise _BadLineError("headers is not a list of [name, value] pairs of texts")
    return found


def _as_received(value: str) -> str:
    """Return a header value as the gate would see it: without the space around it, bytes as latin-1."""
    bare = value.strip(" \t")
    if all(char <= "\xff" for char in bare):
        return bare
    return bare.encode("utf-8", "surrogatepass").decode("latin-1")


def _body(held: Mapping[str, Any]) -> bytes:
    if ("body" in held) == ("body_base64" in held):
        raise _BadLineError("a line has one of body and body_base64")
    if "body" in held:
        try:
            return _text(held, "body", "").encode()
        except UnicodeEncodeError:
            raise _BadLineError("body is not UTF-8 text: give it as body_base64") from None
    try:
        return base64.b64decode(_text(held, "body_base64", ""), validate=True)
    except (binascii.Error, ValueError):
        raise _BadLineError("body_base64 is not base64") from None


def _now(held: Mapping[str, Any], default: float) -> float:
    for name in ("at", "now"):
        value = held.get(name)
        if value is None:
            continue
        # The bound keeps an integer of a thousand digits from failing as a float.
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
            raise _BadLineError(f"{name} is not Unix seconds")
        return float(value)
    return default if math.isfinite(default) else 0.0


def _adapter(held: Mapping[str, Any], default: Adapter | None, own: Mapping[str, Mapping[str, Any]]) -> Adapter:
    provider = _text(held, "provider", default.provider if default else "")
    if "secret" in held:
        if not provider:
            raise UsageError("the line names no provider, and no source is given")
        return build(provider, _secrets(held["secret"]), options=_options(held), own=own)
    if default is None or provider.replace("_", "-") != default.provider:
        raise UsageError("the line brings no secret, and no source of its provider is given")
    return default


def _secrets(value: object) -> list[str]:
    found = [secret for secret in (value if isinstance(value, list) else [value]) if isinstance(secret, str)]
    if isinstance(value, list) and len(found) == len(value):
        return found
    if not isinstance(value, str):
        raise _BadLineError("secret is neither a text nor a list of them")
    return found


def _options(held: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the line says otherwise than its provider's declaration, in the words of a source's options."""
    options = held.get("options", {})
    if not isinstance(options, Mapping):
        raise _BadLineError("options is not an object")
    return options


def _refusal(adapter: Adapter, request: Request, now_seconds: float) -> RefusedError | None:
    try:
        adapter.verify(request, now_seconds)
    except RefusedError as refusal:
        return refusal
    return None


def _greeted(
    adapter: Adapter, request: Request, now_seconds: float, refusal: RefusedError
) -> tuple[str | None, RefusedError]:
    """Return what the gate answers to a handshake without a signature, else why it answers nothing."""
    try:
        reply = adapter.greeting(request, now_seconds)
    except RefusedError as found:
        return None, found
    return (None if reply is None else _ANSWERED.format(reply.status)), refusal


def _what_follows(adapter: Adapter, request: Request, now_seconds: float) -> str:
    """Say what the gate would do after the signature, which says nothing of the body."""
    try:
        reply = adapter.greeting(request, now_seconds)
        if reply is not None:
            return _ANSWERED.format(reply.status)
        events = adapter.split(request)
    except RefusedError as refusal:
        return f"authentic, but the gate refuses what it holds: {refusal}"
    wrong = sum(event.malformed is not None for event in events)
    return f"{len(events)} event{'s' if len(events) != 1 else ''}" + (f", {wrong} of them malformed" if wrong else "")
