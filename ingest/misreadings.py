"""The usual ways to misread a contract that is a hash: the secret in another form, the signature in another encoding.

A match under a keyed hash is proof, so many can be tried; what decides is whether the sentence helps.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ingest.adapters import shapes
from ingest.adapters.base import RefusedError, Request
from ingest.adapters.hashes import HashVerifier
from ingest.adapters.header_layout import Layout
from ingest.adapters.in_words import InWords
from ingest.adapters.stamps import Stamp
from ingest.adapters.values import WrongWordError
from ingest.adapters.verifier import all_of
from tidegate.errors import UsageError

_KEY_PREFIX = re.compile(r"[A-Za-z]{2,10}_")
_SIGNATURE_PREFIX = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]{1,11}[=:]|v[0-9][a-z]?[,=]|[A-Za-z]{3,12} )")
_TEMPLATES = (
    "{body}",
    "{timestamp}.{body}",
    "{timestamp}{body}",
    "{timestamp}:{body}",
    "v0:{timestamp}:{body}",
    "{url}{body}",
)
_GIVEN_MAX = 4
"""Signatures of one request that are looked at."""


@dataclass(frozen=True, slots=True)
class _Change:
    """``said`` after `good with`; ``words`` of the signature that are other than declared, ``secret`` how one is respelled.

    Neither holds anything of a secret beyond its kind of prefix.
    """

    said: str = ""
    words: tuple[tuple[str, Any], ...] = ()
    secret: Callable[[str], str] | None = None
    lowered: bool = False
    """Whether the signature is read in small letters."""


def found(judged: InWords, now_seconds: float) -> str | None:
    """Return under which misreading the request is good, after `good with`; None where under none. Never raises.

    ``now_seconds`` is when the request was signed: the clock is another matter.
    """
    if judged.signature.kind not in ("hmac", "digest"):
        return None
    try:
        readings = list(dict.fromkeys(_readings(judged)))
        changes = sorted(
            (
                _joined(reading, key, template)
                for reading in readings
                for key in _keys(judged)
                for template in _templates(judged)
            ),
            key=lambda change: change.said.count(", "),
        )
        # Fewest differences first: two mistakes at once are rarer than one.
        for change in changes:
            if change.said and _is_good(judged, change, now_seconds):
                return f"{change.said}: {_advice(change)}"
    except RefusedError:
        pass
    return None


def _is_good(judged: InWords, change: _Change, now_seconds: float) -> bool:
    signature = judged.signature.model_copy(update=dict(change.words))
    secrets = [change.secret(secret) for secret in judged.secrets] if change.secret else list(judged.secrets)
    request = _lowered(judged) if change.lowered else judged.request
    for secret in secrets:  # one may be no key in this spelling, and another be one
        try:
            HashVerifier(signature, _stamp(judged), [secret]).verify(request, now_seconds)
        except (UsageError, WrongWordError, RefusedError):
            continue
        return True
    return False


def _stamp(judged: InWords) -> Stamp | None:
    return Stamp(judged.timestamp, judged.tolerance_seconds) if judged.timestamp is not None else None


def _readings(judged: InWords) -> Iterator[_Change]:
    """Give the ways to read the header: as declared, or as the signature in it looks."""
    yield _Change()
    words = judged.signature
    bare = words
    said: list[str] = []
    values = [value for name in all_of(words.header) for value in judged.request.values(name)]
    change: dict[str, Any] = {}
    if words.layout == "one" and values and not values[0].startswith(words.prefix):
        mark = _SIGNATURE_PREFIX.match(values[0])
        change["prefix"] = mark[0] if mark else ""
    elif words.layout == "one" and not words.prefix and values and (mark := _SIGNATURE_PREFIX.match(values[0])):
        change["prefix"] = mark[0]
    elif words.layout == "list" and words.prefix and not any(words.prefix in value for value in values):
        change["prefix"] = ""
    if "prefix" in change:
        said.append(
            f"{change['prefix'].strip()!r} before the signature" if change["prefix"] else "nothing before the signature"
        )
        bare = words.model_copy(update=change)
        yield _of(said, change)
    given, _ = Layout(bare, _stamp(judged)).read(judged.request)
    for text in given[:_GIVEN_MAX]:
        if words.encoding == "hex" and text != text.lower() and (words.hash, "hex") in shapes.fits(text):
            yield replace(_of([*said, "the signature in small letters"], change), lowered=True)
        for name, encoding in shapes.fits(text):
            if (name, encoding) != (words.hash, words.encoding):
                other = change | {
                    what: value
                    for what, value, declared in (("hash", name, words.hash), ("encoding", encoding, words.encoding))
                    if value != declared
                }
                yield _of([*said, f"the signature as {shapes.said(name, encoding)}"], other)


def _lowered(judged: InWords) -> Request:
    """Return the request with what is hexadecimal and as long as a signature in small letters."""
    size = shapes.length(judged.signature.hash, "hex")
    hexadecimal = re.compile(rf"[0-9A-Fa-f]{{{size}}}")
    names = all_of(judged.signature.header)
    return replace(
        judged.request,
        headers=[
            (name, hexadecimal.sub(lambda text: text[0].lower(), value) if name in names else value)
            for name, value in judged.request.headers
        ],
    )


def _of(said: list[str], words: dict[str, Any]) -> _Change:
    return _Change(", ".join(said), tuple(words.items()))


def _keys(judged: InWords) -> Iterator[_Change]:
    """Give the forms that the secret may have been meant in."""
    words = judged.signature
    yield _Change()
    prefixes = {mark[0] for secret in judged.secrets if (mark := _KEY_PREFIX.match(secret))}
    declared = words.key_prefix
    if words.key != "text" or declared:
        yield _Change("the secret taken as the text that it is", (("key", "text"), ("key_prefix", "")))
    for prefix in sorted(prefixes):
        if words.key != "text" or declared != prefix:
            yield _Change(f"the secret without its {prefix}", (("key", "text"), ("key_prefix", prefix)))
    for key, said in (("base64", "base64"), ("hex", "hexadecimal")):
        for prefix in ("", *sorted(prefixes)):
            if (words.key, declared) != (key, prefix):
                less = f", without its {prefix}" if prefix and declared != prefix else ""
                yield _Change(f"the secret decoded from {said}{less}", (("key", key), ("key_prefix", prefix)))
    if words.key == "text":
        if not prefixes:
            yield _Change("whsec_ before the secret", secret=lambda secret: f"whsec_{secret}")
        yield _Change("the secret encoded as base64", secret=lambda secret: base64.b64encode(secret.encode()).decode())
        yield _Change("the secret encoded in hexadecimal", secret=lambda secret: secret.encode().hex())


def _templates(judged: InWords) -> Iterator[_Change]:
    yield _Change()
    if judged.signature.kind == "digest":
        return
    for template in _TEMPLATES:
        if template != judged.signature.signed and (judged.timestamp is not None or "{timestamp}" not in template):
            yield _Change(f"{template} signed", (("signed", template),))


def _joined(*changes: _Change) -> _Change:
    words: dict[str, Any] = {}
    for change in changes:
        words |= dict(change.words)
    return _Change(
        ", ".join(change.said for change in changes if change.said),
        tuple(words.items()),
        next((change.secret for change in changes if change.secret), None),
        any(change.lowered for change in changes),
    )


def _advice(change: _Change) -> str:
    words = dict(change.words)
    if change.lowered:
        return "something turned its letters into capitals"
    if change.secret is not None or set(words) <= {"key", "key_prefix"}:
        shown = "put the secret into secrets exactly as the provider shows it"
        return f"{shown}; if it is meant so, {_say(words)}" if words else shown
    return f"is it this provider that sends? If it is meant so, {_say(words)}"


def _say(words: dict[str, Any]) -> str:
    told = ", ".join(f"{name} = {value!r}".replace("'", '"') for name, value in words.items())
    return f"say {told} in the declaration's signature"
