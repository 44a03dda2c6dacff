"""A provider's declaration in words for people: short ones for a table, whole sentences for a page."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.adapters.declaration import Declaration, Events, Handshake, Signature, Timestamp

EVIDENCE = {
    "sdk": "tried with the provider's own library",
    "published": "agrees with what the provider publishes as an example",
    "documented": "as the provider describes it; no library or example to try it with",
    "own": "declared in your settings",
}
_UNITS = {"s": "Unix seconds", "ms": "Unix milliseconds", "iso": "ISO 8601"}
_ENCODINGS = {"hex": "hexadecimal", "base64": "base64", "base64url": "base64 for URLs"}
_SCHEMES = {
    "ecdsa-p256": "ECDSA P-256",
    "ed25519": "Ed25519",
    "basic": "basic authentication",
    "standard-webhooks": "Standard Webhooks",
    "twilio": "HMAC-SHA1 of URL and form",
    "mailgun": "HMAC-SHA256 in the body",
}


def verified(words: Declaration) -> str:
    """Return how requests are verified, in few words: `HMAC-SHA256 + time`."""
    if not words.signatures:
        return "a scheme of its own"
    told = " or ".join(dict.fromkeys(_scheme(found) for found in words.signatures))
    return f"{told} + time" if words.timestamp is not None else told


def _scheme(words: Signature) -> str:
    if words.kind == "hmac":
        return f"HMAC-{words.hash.upper()}"
    if words.kind == "digest":
        return f"plain {words.hash.upper()}"
    if words.kind == "token":
        return f"secret in the {'header' if words.header else 'URL' if words.query else 'body'}"
    return _SCHEMES.get(words.kind, words.kind)


def signature(words: Signature) -> str:
    """Return all there is to say of one scheme, as a sentence."""
    if words.kind == "token" and words.query is not None:
        return f"the secret itself, in the URL that the provider calls: ?{words.query}=..."
    if words.kind == "token" and words.body is not None:
        return f"the secret itself, as {words.body} in the JSON body; it is cut out before anything is stored"
    if words.kind == "token":
        return f"the secret itself, in {_headers(words)}{_after(words.prefix)}"
    if words.kind == "basic":
        return f"user and password, in {words.header or 'Authorization'}"
    if words.kind == "standard-webhooks":
        sent = " or ".join(f"{prefix}-signature" for prefix in words.prefixes)
        return f"Standard Webhooks: v1 (HMAC-SHA256) and v1a (Ed25519), in {sent}, over id, time and body"
    if words.kind not in ("hmac", "digest", "ecdsa-p256", "ed25519"):
        return f"{_scheme(words)}, as {words.kind} does it"
    where = f"in {_headers(words)}"
    if words.layout == "pairs":
        where += f" as {words.pair}="
    elif words.layout == "list":
        where += ", one or several"
    return f"{_scheme(words)} in {_ENCODINGS[words.encoding]}, {where}{_after(words.prefix)}, over {words.signed}"


def _headers(words: Signature) -> str:
    return "Authorization" if words.header is None else " or ".join(_listed(words.header))


def _after(prefix: str) -> str:
    return f" after {prefix.strip()!r}" if prefix.strip() else ""


def stamp(words: Timestamp) -> str:
    """Return where the signed time is, and how far from ours it may be."""
    if words.pair is not None:
        where = f"{words.pair}= beside the signature"
    elif words.header is not None:
        where = " or ".join(_listed(words.header))
    else:
        where = f"{words.body} in the body"
    ahead = min(words.ahead_seconds, words.tolerance_seconds)
    absent = "" if words.required else "; it may be absent"
    return f"{where}, {_UNITS[words.unit]}; at most {words.tolerance_seconds:,} s old, {ahead:,} s ahead{absent}"


def value(text: str) -> str:
    """Return where a value is, e.g. `header X-GitHub-Event, else type`."""
    return ", else ".join(_one(part.strip()) for part in text.split(" | "))


def values(texts: str | Sequence[str], *, joined: str = " + ") -> str:
    """Return the same of several that make one."""
    return joined.join(
        value(text.removesuffix("?").strip()) + (" (where there is one)" if text.endswith("?") else "")
        for text in _listed(texts)
    )


def _one(text: str) -> str:
    if text == "content":
        return "a hash of the event"
    if text == "arrival":
        return "a new one for each arrival"
    if text == "signed-time":
        return "the signed time"
    if text.startswith("="):
        return f"{text[1:]!r}"
    for mark, told in (("header:", "header "), ("query:", "?"), ("$.", "of the whole body ")):
        if text.startswith(mark):
            return told + text.removeprefix(mark).strip()
    return text


def keys(texts: str | Sequence[str]) -> str:
    """Return what events are about: nouns and where each has its value."""
    told = []
    for text in _listed(texts):
        noun, _, where = text.partition(":")
        told.append(f"{noun}: {value(where)}")
    return "; else ".join(told)


def cutting(words: Events) -> str:
    """Return how a body is cut into events."""
    form = ""
    if words.body == "form":
        form = f"; of a form its field {words.form_field}" if words.form_field else "; a form becomes a JSON object"
    if words.items is not None:
        return f"each element of {words.items} is an event{form}"
    return {"one": "one a request", "array": "a list of them a request", "either": "one a request, or a list of them"}[
        words.batch
    ] + form


def answers(words: Declaration) -> str:
    """Return what this provider is answered, in its own terms."""
    found = words.answers
    told = [f"{found.success}{f' {found.text!r}' if found.text is not None else ''} when its events are taken"]
    told.append(f"{found.busy or 503} when it is to come again")
    told.append(f"{found.refused or 400} when they can never be read")
    return ", ".join(told)


def handshake(words: Handshake) -> str:
    """Return when it is one, and what it is answered."""
    when = " and ".join(
        f"{value(name)} is {f'{expected!r}' if expected else 'there'}" for name, expected in words.when.items()
    )
    told = f"{words.method}{f' where {when}' if when else ''}: answered {words.status}"
    if words.text is not None:
        told += f" with {value(words.text)}"
    elif words.json_:
        told += f" with {', '.join(words.json_)} as JSON"
    if words.headers:
        told += f" and {', '.join(words.headers)}"
    if words.secret is not None:
        told += f"; {value(words.secret)} has to be the source's handshake_secret"
    return told


def _listed(texts: str | Sequence[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)
