"""Lemlist: a secret echoed in every body, one JSON object a request.

Sources: Lemlist's API reference (`POST /hooks` with ``secret``; it comes back as ``secret`` in each body; activity
fields). There is no signature and no timestamp: the secret proves who sent the body, not that it is unchanged or new.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Self

from ingest.adapters.base import JsonSender, Parsed, RefusedError, Request, same, usable
from ingest.adapters.clock import iso_ms
from ingest.adapters.limits import bounded, event_type, key
from tidegate import jsontext
from tidegate.errors import UsageError

_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
"""A string in a text that is known to be JSON, where a quote stands nowhere else."""
_MASK = "***"


class LemlistAdapter(JsonSender):
    """One Lemlist team's hooks. A hook's secret cannot be changed, only the hook replaced: give both secrets then."""

    provider = "lemlist"
    # busy_status: Lemlist documents no retries; 503 says what is meant, to whatever does repeat it.

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = usable(secrets)
        super().__init__(self._secrets)
        self._copies = _in_json(self._secrets)

    def trimmed(self) -> Self | None:
        """Return the same with the space around its secrets taken off; None when there is none."""
        bare = [secret.strip() for secret in self._secrets]
        return None if bare == list(self._secrets) or not all(bare) else type(self)(bare)

    def scheme(self, request: Request) -> str:
        """Return `body secret` or `none`, by a search: to parse the body of everybody we refuse would be their weapon."""
        return "body secret" if b'"secret"' in request.body else "none"

    def clock_difference(self, request: Request, now_seconds: float) -> float | None:
        """Return None: Lemlist signs no time."""
        return None

    def verify(self, request: Request, now_seconds: float) -> None:
        """Check the secret in the body. The clock is not asked: Lemlist signs no time."""
        try:
            values = jsontext.values(request.body, "secret")
        except jsontext.NotJsonError as error:
            raise RefusedError("malformed_body", str(error)) from None
        if not values:
            raise RefusedError("missing_secret", "the body holds no secret: create the hook anew, with one")
        if len(values) > 1:
            # Two readers could take different ones, and only one of them is the secret.
            raise RefusedError("malformed_signature", "the body holds more than one secret: Lemlist sends one")
        given = values[0]
        if not isinstance(given, str):
            raise RefusedError("malformed_signature", "the secret is not a text")
        if not any(same(secret, given) for secret in self._secrets):
            raise RefusedError(
                "bad_signature",
                "another secret: put the one this hook was created with into secrets, or create it anew",
            )

    def split(self, request: Request) -> list[Parsed]:
        """Return the one event, its payload without the secret."""
        others, _, rest = _cut(request.body)
        named = others.get("_id")
        if not isinstance(named, str) or not named:
            raise RefusedError("no_event_id", "_id is not a text: Lemlist sends one in every activity")
        kind = event_type(others.get("type", "unknown"))
        return [
            Parsed(
                provider_event_id=bounded(named),
                event_type=kind or "unknown",
                occurred_at_ms=iso_ms(others.get("createdAt")),
                key=key("lead", others.get("leadId")) or key("campaign", others.get("campaignId")),
                payload=self._without_secrets(rest),
                malformed=None if kind else "type is not the name of a type",
            )
        ]

    def sign(
        self, body: bytes, *, url: str, now_seconds: float, message_id: str
    ) -> tuple[list[tuple[str, str]], bytes]:
        """Put the first secret into ``body``, which must be a JSON object; nothing else is used."""
        try:
            others, _, rest = jsontext.cut(body, "secret")
        except jsontext.NotJsonError as error:
            raise UsageError(f"a Lemlist body is a JSON object: {error}") from None
        opened = rest.rstrip(b" \t\r\n")[:-1]
        member = f'{"," if others else ""}"secret":{json.dumps(self._secrets[0])}}}'
        return [("Content-Type", "application/json")], opened + member.encode()

    def _without_secrets(self, rest: bytes) -> bytes:
        """Mask each secret that still stands in a string, nested or escaped; every other byte stays as received."""
        if b"\\" not in rest:  # then nothing is escaped, and a plain search is enough
            held = any(secret.encode() in rest for secret in self._secrets)
        else:
            held = self._copies.search(rest.decode()) is not None
        return _STRING.sub(self._masked, rest.decode()).encode() if held else rest

    def _masked(self, found: re.Match[str]) -> str:
        token = found[0]
        value: str = json.loads(token)
        if not any(secret in value for secret in self._secrets):
            return token
        for secret in self._secrets:
            value = value.replace(secret, _MASK)
        return json.dumps(value)


def _in_json(secrets: Sequence[str]) -> re.Pattern[str]:
    """Return what finds any of ``secrets`` in a text of JSON, each of its characters as it is or escaped.

    To look at each string of 2 MiB in Python would stand still for seconds, and nearly always there is nothing to find. An
    even number of backslashes before a character is text; an odd one would make it part of an escape.
    """
    spelled = "|".join("".join(map(_spellings, secret)) for secret in secrets)
    return re.compile(rf"(?<!\\)(?:\\\\)*(?:{spelled})")


def _spellings(char: str) -> str:
    units = char.encode("utf-16-be")
    escaped = "".join(rf"\\u(?i:{units[at : at + 2].hex()})" for at in range(0, len(units), 2))
    short = {
        '"': r"\\\"",
        "\\": r"\\\\",
        "/": r"\\/",
        "\b": r"\\b",
        "\f": r"\\f",
        "\n": r"\\n",
        "\r": r"\\r",
        "\t": r"\\t",
    }
    plain = [] if char in '"\\' or char < " " else [re.escape(char)]
    return f"(?:{'|'.join([*plain, escaped, *([short[char]] if char in short else [])])})"


def _cut(body: bytes) -> jsontext.Cut:
    try:
        return jsontext.cut(body, "secret")
    except jsontext.NotJsonError as error:
        raise RefusedError("malformed_body", str(error)) from None
