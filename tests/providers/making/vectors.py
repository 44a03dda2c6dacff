"""The vectors of a signer: numbered, each with the word of the provider's SDK where it can be asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

from tests.providers.making.signer import Case, Signer

VALID_MIN = 5
HOSTILE_MIN = 8


class NotWholeError(Exception):
    """These vectors prove nothing; the message says why."""


def made(name: str, signer: Signer) -> list[dict[str, Any]]:
    """Return the vectors of the provider ``name``; raise NotWholeError where there are too few, or the SDK says no."""
    cases = list(signer.cases())
    valid = sum(case.valid for case in cases)
    if valid < VALID_MIN or len(cases) - valid < HOSTILE_MIN:
        raise NotWholeError(
            f"{name}: {valid} valid and {len(cases) - valid} hostile, {VALID_MIN} and {HOSTILE_MIN} are asked for"
        )
    said = [case.said for case in cases]
    if twice := sorted({text for text in said if said.count(text) > 1}):
        raise NotWholeError(f"{name}: the same twice: {', '.join(twice)}")
    return [_vector(f"{name}-{number:03}", signer, case) for number, case in enumerate(cases, start=1)]


def written(vectors: Sequence[dict[str, Any]]) -> str:
    """Return the file: a vector a line, so that a difference shows which."""
    return "[\n" + ",\n".join(json.dumps(vector, ensure_ascii=False) for vector in vectors) + "\n]\n"


def _vector(identifier: str, signer: Signer, case: Case) -> dict[str, Any]:
    request = case.request
    return {
        "id": identifier,
        "description": case.said,
        "valid": case.valid,
        "method": request.method,
        "url": request.url,
        "secret": case.secret if case.secret is not None else signer.secret,
        **signer.also,
        **case.also,
        "headers": [list(pair) for pair in request.headers],
        **_body(request.body),
        "at": case.at,
        "made_by": _named(case.made_by or signer.made_by),
        **_verdict(identifier, signer, case),
    }


def _body(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def _named(distribution: str) -> str:
    return distribution if distribution == "independent" else f"{distribution} {version(distribution)}"


def _verdict(identifier: str, signer: Signer, case: Case) -> dict[str, str]:
    """Return what the SDK says of ``case``. It takes headers as a mapping, so not of one that repeats a header."""
    if signer.accepts is None or not case.is_asked or case.request.repeats_a_header:
        return {}
    secret = case.secret if case.secret is not None else signer.secret
    error: Exception | None = None
    with import_module("time_machine").travel(case.at, tick=False):
        try:
            accepted = signer.accepts(case.request, secret)
        except Exception as raised:  # how SDKs say no differs, and some fail at what is hostile
            accepted, error = False, raised
    if case.valid and not accepted and not case.may_differ:
        raise NotWholeError(f"{identifier} ({case.said}): refused by {signer.asked}: {error!r}")
    return {"accepted_by" if accepted else "rejected_by": _named(signer.asked)}
