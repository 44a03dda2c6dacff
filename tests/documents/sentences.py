"""The words of a declaration as Markdown, for somebody who has never seen one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ingest.adapters.declaration import Answers, Declaration, Events, Handshake, Signature, Timestamp

Rows = list[tuple[str, str]]
"""Of a table: what, and what there is to say of it."""

_ROOT = Path(__file__).parents[2]
_FIELD = re.compile(r"\{([^{}]*)\}")
_LITERAL = re.compile(r"(`[^`]*`|https?://[^\s)]+)")
_MARKUP = re.compile(r"[<*_\[\]]")
_FIELDS = {
    "body": "the body byte for byte as received",
    "timestamp": "the timestamp as received",
    "url": "the URL that the provider calls (`public_url`, and the query that it is called with)",
    "method": "the HTTP method",
    "path": "the path of the URL that the provider calls, its query included",
    "secret": "the secret",
}
_ENCODINGS = {"hex": "hexadecimal", "base64": "base64", "base64url": "base64url without padding"}
_UNITS = {"s": "Unix seconds, digits alone", "ms": "Unix milliseconds, digits alone", "iso": "ISO 8601"}
_KINDS: dict[str, Rows] = {
    "twilio": [
        ("scheme", "HMAC-SHA1, in base64"),
        ("where", "the header `X-Twilio-Signature`"),
        (
            "signed",
            "the URL that the provider calls (`public_url`, and the query that it is called with), then name and value of "
            "each field of the form, sorted by name; where the body is no form, the URL alone, whose parameter `bodySHA256` is "
            "the body's SHA-256",
        ),
        ("key", "the secret's text, every character of it"),
    ],
    "mailgun": [
        ("scheme", "HMAC-SHA256, in hexadecimal"),
        ("where", "`signature.signature` in the body; of sub-accounts also `parent-signature`"),
        ("signed", "`signature.timestamp`, then `signature.token`; nothing of the event itself"),
        ("key", "the secret's text, every character of it"),
    ],
}
"""Of the schemes that are words by themselves."""
_BATCHES = {
    "one": "one event: the body is a JSON object",
    "array": "a list of events: each element of the JSON array is one, and keeps its exact bytes",
    "either": "one event, a JSON object, or a JSON array of them",
}
_MARKS = {"header:": "the header ", "query:": "the parameter ", "$.": ""}


def code(text: str) -> str:
    """Return ``text`` as code that may stand in a table."""
    shown = text.replace("\n", "\\n").replace("\t", "\\t").replace("|", "\\|")
    fence = "``" if "`" in shown else "`"
    padding = " " if fence == "``" else ""
    return f"{fence}{padding}{shown}{padding}{fence}"


def prose(text: str) -> str:
    """Return the text of a declaration, whose code is in backticks already: what else Markdown would read stays text."""
    parts = _LITERAL.split(" ".join(text.split()))
    return "".join(part if number % 2 else _MARKUP.sub(r"\\\g<0>", part) for number, part in enumerate(parts))


def duration(seconds: int) -> str:
    """Return ``seconds`` as people say it."""
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size or seconds == size:
            count, rest = divmod(seconds, size)
            more = f" and {duration(rest)}" if rest else ""
            return f"{count} {unit}{'s' if count > 1 else ''}{more}"
    return f"{seconds} second{'s' if seconds != 1 else ''}"


def value(text: str) -> str:
    """Return where a value is found."""
    return ", else ".join(_one(part.strip()) for part in text.split(" | "))


def values(texts: str | Sequence[str], *, separator: str) -> str:
    """Return the same of several that are joined."""
    parts = []
    for text in listed(texts):
        bare = text.removesuffix("?").strip()
        parts.append(value(bare) + (" where there is one" if text.endswith("?") else ""))
    if len(parts) == 1:
        return parts[0]
    return f"joined by {code(separator)}: " + "; ".join(parts)


def signature(words: Signature) -> Rows:
    """Return how one scheme proves who sent a request."""
    if words.kind == "token":
        return _token(words)
    if words.kind == "basic":
        return [
            ("scheme", f"HTTP basic authentication in the header {code(_headers(words)[0])}"),
            ("compared", "user and password with the secret, which is `user:password`, in constant time"),
            ("proves", "who sent it; not that the body is unchanged, nor that it is new"),
        ]
    if words.kind == "standard-webhooks":
        return _standard(words)
    if words.kind in ("hmac", "digest", "ecdsa-p256", "ed25519"):
        return [
            ("scheme", _scheme(words)),
            ("where", _where(words)),
            ("signed", _signed(words.signed)),
            ("key", _key(words)),
        ]
    return _KINDS.get(words.kind) or [("scheme", in_python(words.kind))]


def in_python(name: str) -> str:
    """Return what there is to say of a scheme that no words suffice for."""
    names = (name.replace("-", "_"), name.partition("-")[0])
    path = next((path for path in (f"ingest/adapters/{found}.py" for found in names) if (_ROOT / path).exists()), "")
    there = f": [`{path}`](../../{path})" if path else ""
    return f"one of its own, written in Python{there}; what there is to know of it is told below"


def timestamp(words: Declaration) -> Rows:
    """Return where the signed time is and what it may be; that none is signed, where none is."""
    stamp = words.timestamp
    if stamp is None and any(found.kind == "standard-webhooks" for found in words.signatures):
        stamp = Timestamp(header=[f"{prefix}-timestamp" for prefix in words.signatures[0].prefixes])
    if stamp is None:
        return [("time", "none is signed: a request that is sent again is told by the id of its event")]
    ahead = min(stamp.ahead_seconds, stamp.tolerance_seconds)
    absent = "" if stamp.required else ". A request without it is accepted: the provider sends some"
    return [
        ("time", f"{_stamp_place(stamp)}, {_UNITS[stamp.unit]}{absent}"),
        (
            "refused",
            f"what was signed more than {duration(stamp.tolerance_seconds)} ago, or more than {duration(ahead)} ahead of the "
            "clock here; `tolerance_seconds` of the source replaces both",
        ),
    ]


def event(words: Events) -> Rows:
    """Return what an event is, and where it has its fields."""
    rows = [
        ("in one request", _cutting(words)),
        ("id", values(words.id, separator=":") + _of_id(words)),
        ("type", values(words.type, separator=words.type_separator)),
    ]
    if words.occurred_at is not None:
        rows.append(("occurred at", value(words.occurred_at)))
    if words.key:
        rows.append(("about", "; else ".join(map(_key_of_event, listed(words.key)))))
    return rows


def answers(words: Answers, *, of_code: bool) -> list[tuple[str, str, str]]:
    """Return what happened, what is answered, and what there is to say of it."""
    taken = f"{words.success}"
    if words.text is not None:
        taken += f" and {code(words.text)} ({words.content_type})" if words.text else ", without a body"
    elif words.success != 204 and not of_code:
        taken += ", with the ids of the deliveries as JSON"
    refused, busy = words.refused or 400, words.busy or 503
    again = f"{busy}, or 429 above a rate, with `Retry-After`" if words.busy is None else f"{busy}"
    return [
        ("the events are durable, or were already", taken, "never before Redis or the inbox has them"),
        ("authentic, but can never be read", f"{refused}", "`tidegate rejects` says why"),
        ("come again: too much at once, paused, or nowhere durable", again, "what the provider makes of it: below"),
        ("not authentic", "401", "the client learns no more; `tidegate rejects` says why"),
    ]


def handshake(words: Handshake) -> str:
    """Return when a request is this one, whether it must be authentic, and what it is answered."""
    conditions = [
        f"{value(name)} is {code(expected)}" if expected else f"{value(name)} is there"
        for name, expected in words.when.items()
    ]
    if words.secret is not None:
        conditions.append(f"{value(words.secret)} is the source's `handshake_secret`")
    told = f"{'An' if words.method == 'OPTIONS' else 'A'} {words.method}"
    if words.method == "POST" and words.secret is None:
        told += ", signed as events are," if words.signed else ", signed or not,"
    told += f" where {' and '.join(conditions)}" if conditions else ""
    told += f" is answered {words.status}"
    if words.text is not None:
        told += f" with {_answered(words.text)}"
        told += "" if words.content_type.startswith("text/plain") else f" as {words.content_type}"
    if words.json_:
        told += " with the JSON object of " + " and ".join(
            f"{code(name)}: {_answered(found)}" for name, found in words.json_.items()
        )
    if words.headers:
        told += ", and with " + " and ".join(
            f"the header {code(name)}: {_answered(found)}" for name, found in words.headers.items()
        )
    return told + "."


def sent(words: Declaration) -> str:
    """Return the methods and media types of its requests."""
    kinds = ["any that ends in `+json`" if kind == "+json" else code(kind) for kind in words.content_types]
    return f"{either(words.methods)} of {either('any type' if kind == code('*/*') else kind for kind in kinds)}"


def either(parts: Iterable[str]) -> str:
    """Return `a, b or c`."""
    *first, last = parts
    return f"{', '.join(first)} or {last}" if first else last


def listed(texts: str | Sequence[str]) -> list[str]:
    """Return ``texts``, one of them as a list."""
    return [texts] if isinstance(texts, str) else list(texts)


def _one(text: str) -> str:
    if text == "content":
        return "the SHA-256 of its bytes"
    if text == "arrival":
        return "a text that is new each time it arrives"
    if text == "signed-time":
        return "the signed time"
    if text.startswith("="):
        return f"the text {code(text[1:])}"
    for mark, told in _MARKS.items():
        if text.startswith(mark):
            after = " of the whole body" if mark == "$." else " of the URL" if mark == "query:" else ""
            return told + code(text.removeprefix(mark).strip()) + after
    return code(text)


def _answered(text: str) -> str:
    for mark in ("hmac-hex", "hmac-base64"):
        if text.startswith(f"{mark}:"):
            encoding = "hexadecimal" if mark == "hmac-hex" else "base64"
            return f"the HMAC-SHA256 under the secret, in {encoding}, of {value(text[len(mark) + 1 :])}"
    return value(text)


def _scheme(words: Signature) -> str:
    written = _ENCODINGS[words.encoding]
    if words.kind == "hmac":
        return f"HMAC-{words.hash.upper()}, in {written}"
    if words.kind == "digest":
        return f"{words.hash.upper()} of a text that holds the secret (no HMAC), in {written}"
    if words.kind == "ecdsa-p256":
        return f"ECDSA on P-256 with SHA-256, in {written}: verified with a public key"
    return f"Ed25519, in {written}: verified with a public key"


def _headers(words: Signature) -> list[str]:
    return listed(words.header) if words.header is not None else ["Authorization"]


def _where(words: Signature) -> str:
    place = f"the header {either(map(code, _headers(words)))}"
    if words.layout == "pairs":
        return (
            f"{place}: `name=value` pairs separated by {_separator(words)}; {code(words.pair or '')} is the signature"
            + (f", after {code(words.prefix)}" if words.prefix else "")
            + ", and while a secret is rolled may occur more than once: any that verifies is enough"
        )
    if words.layout == "list":
        after = f", each after {code(words.prefix)}" if words.prefix else ""
        return f"{place}: one or several, separated by {_separator(words)}{after}; any that verifies is enough"
    return f"{place}, after {code(words.prefix)}" if words.prefix else place


def _separator(words: Signature) -> str:
    visible = words.separator.strip()
    if not visible:
        return "a space"
    return code(visible) if visible == words.separator else f"{code(visible)} and a space"


def _signed(template: str) -> str:
    parts = []
    at = 0
    for field in _FIELD.finditer(template):
        parts += [code(template[at : field.start()])] if template[at : field.start()] else []
        name = field[1]
        header = name.removeprefix("header:")
        parts.append(_FIELDS.get(name, f"the value of the header {code(header)}"))
        at = field.end()
    parts += [code(template[at:])] if template[at:] else []
    return ", then ".join(parts) + (f": {code(template)}" if len(parts) > 1 else "")


def _key(words: Signature) -> str:
    if words.kind == "digest":
        return "none: the secret is part of what is hashed"
    before = f" after {code(words.key_prefix)}" if words.key_prefix else ""
    if words.kind in ("ecdsa-p256", "ed25519"):
        form = {"pem": "PEM", "hex": "hexadecimal"}.get(words.key, "base64")
        return f"the public key in {form}{before}"
    if words.key == "text":
        return f"the secret's text{before}" if before else "the secret's text, every character of it"
    return f"the bytes that the secret is the {words.key if words.key == 'base64' else 'hexadecimal'} of{before}"


def _token(words: Signature) -> Rows:
    if words.body is not None:
        place = f"the member {code(words.body)} of the JSON body; it is cut out before anything is stored or logged"
    elif words.query is not None:
        place = f"the parameter {code(words.query)} of the URL: give the provider the URL with it"
    else:
        place = f"the header {either(map(code, _headers(words)))}" + (
            f", after {code(words.prefix.strip())}" if words.prefix else ""
        )
    return [
        ("scheme", "the secret itself, compared in constant time; nothing is signed"),
        ("where", place),
        ("proves", "who sent it; not that the body is unchanged, nor that it is new: use https alone"),
    ]


def _standard(words: Signature) -> Rows:
    return [
        ("scheme", "Standard Webhooks: `v1`, HMAC-SHA256 in base64; `v1a`, Ed25519"),
        (
            "where",
            f"the header {either(code(f'{prefix}-signature') for prefix in words.prefixes)}: one or several, separated by a "
            "space; any that verifies is enough",
        ),
        (
            "signed",
            f"the header {either(code(f'{prefix}-id') for prefix in words.prefixes)}, then `.`, then the timestamp, then `.`, "
            "then the body byte for byte as received",
        ),
        ("key", "`whsec_` and the key in base64 for `v1`; `whpk_` and the public key in base64 for `v1a`"),
    ]


def _stamp_place(words: Timestamp) -> str:
    if words.pair is not None:
        return f"{code(words.pair)} among the pairs of the signature"
    if words.body is not None:
        return f"{code(words.body)} in the body"
    return f"the header {either(map(code, listed(words.header or '')))}"


def _cutting(words: Events) -> str:
    told = _BATCHES[words.batch]
    if words.items is not None:
        names = words.items.split(".")
        told = f"a list of events: each element of {' in '.join(map(code, reversed(names)))}"
    if words.body == "form" and words.form_field is not None:
        told += f"; of a form the field {code(words.form_field)} holds the JSON"
    elif words.body == "form":
        told += "; a form becomes a JSON object of texts, with a list where a field is repeated"
    return told


def _of_id(words: Events) -> str:
    """Say what an id means that the provider does not give."""
    if words.id == "content":
        return ": the provider names none, so the same bytes are the same event"
    return ""


def _key_of_event(text: str) -> str:
    noun, _, where = text.partition(":")
    told = f"{code(noun)}: {value(where)}"
    return told + " (`*`: the type up to its first dot)" if "*" in text else told
