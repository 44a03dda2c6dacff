"""How a secret that is sent as it is was judged, step by step: in a header, the URL or the body."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from ingest.adapters.base import same
from ingest.adapters.in_words import InWords
from ingest.adapters.values import query
from ingest.steps import Step, headers, of_secret, times
from tidegate import jsontext


def steps(judged: InWords) -> Iterator[Step]:
    """Tell of a scheme of kind `token` or `basic`."""
    words = judged.signature
    if words.body is not None:
        yield from _of_body(judged, words.body)
    elif words.query is not None:
        yield from _of_query(judged, words.query)
    else:
        yield from _of_header(judged)


def _of_header(judged: InWords) -> Iterator[Step]:
    words, request = judged.signature, judged.request
    basic = words.kind == "basic"
    header = words.header or "Authorization"
    names = [header] if isinstance(header, str) else list(header)
    yield headers(request, [names])
    value = next((found[0] for name in names if (found := request.values(name.lower())) and found[0]), None)
    if value is None:
        return
    prefix = "Basic " if basic else words.prefix
    if prefix:
        good = value[: len(prefix)].lower() == prefix.lower()
        yield Step("read", f"{'begins' if good else 'does not begin'} with {prefix.strip()!r}", good)
        if not good:
            return
    given = value[len(prefix) :]
    if basic:
        yield from _of_password(judged, given)
    else:
        yield from _compared(judged, given.encode("latin-1", "replace").decode("utf-8", "replace"))


def _of_password(judged: InWords, given: str) -> Iterator[Step]:
    try:
        user, colon, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        yield Step("read", "not base64 of user:password", good=False)
        return
    for index, secret in enumerate(judged.secrets):
        known, _, right = secret.partition(":")
        if not colon or not same(known, user):
            told, good = "another user", False
        else:
            told, good = _against(right, password, "the same user, and for password")
        yield of_secret(index, len(judged.secrets), told, good=good)


def _of_query(judged: InWords, parameter: str) -> Iterator[Step]:
    given = query(judged.request.url).get(parameter)
    yield Step(
        "url",
        f"?{parameter}= {'is there, once' if given is not None else 'missing, or there several times'}",
        bool(given),
    )
    if given:
        yield from _compared(judged, given)


def _of_body(judged: InWords, member: str) -> Iterator[Step]:
    try:
        values = jsontext.values(judged.request.body, member)
    except jsontext.NotJsonError as error:
        yield Step("body", str(error), good=False)
        return
    if len(values) == 1 and isinstance(values[0], str):
        yield Step("body", f"holds {member}", good=True)
        yield from _compared(judged, values[0])
    else:
        found = "no text" if len(values) == 1 else f"there {times(len(values), 'time')}" if values else "missing"
        yield Step("body", f"{member} is {found}: one text is due", good=False)


def _compared(judged: InWords, given: str) -> Iterator[Step]:
    for index, secret in enumerate(judged.secrets):
        told, good = _against(secret, given, "given is")
        yield of_secret(index, len(judged.secrets), told, good=good)


def _against(secret: str, given: str, what: str) -> tuple[str, bool]:
    """Return how the two compare, and whether they are the same."""
    if same(secret, given):
        return "as given", True
    if same(secret.strip(), given.strip()):
        return f"{what} the same but for space around it", False
    if same(secret.lower(), given.lower()):
        return f"{what} the same but for capitals", False
    return f"{what} another one: {times(len(given), 'character')}, where {len(secret)} are configured", False
