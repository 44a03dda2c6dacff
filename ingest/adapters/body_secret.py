"""A secret repeated in every body, as a member of its JSON object.

It proves who sent the body, not that the body is unchanged or new; and it must be cut out before anything is stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from ingest.adapters.base import RefusedError, Request, same
from ingest.adapters.verifier import Draft
from tidegate import jsontext
from tidegate.errors import UsageError

_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
"""A string in a text that is known to be JSON, where a quote stands nowhere else."""
_MASK = "***"


class BodySecret:
    """The member called ``name`` of the body is one of ``secrets``."""

    secret_headers: frozenset[str] = frozenset()

    def __init__(self, name: str, secrets: Sequence[str]) -> None:
        self._name = name
        self._quoted = f'"{name}"'.encode()
        self._secrets = tuple(secrets)
        self._copies = _in_json(self._secrets)

    def is_borne(self, request: Request) -> bool:
        """Tell it by a search: to parse the body of everybody we refuse would be their weapon."""
        return self._quoted in request.body

    def verify(self, request: Request, now_seconds: float) -> int:
        """Return which secret is in the body. The clock is not asked: no time is signed."""
        try:
            values = jsontext.values(request.body, self._name)
        except jsontext.NotJsonError as error:
            raise RefusedError("malformed_body", str(error)) from None
        if not values:
            raise RefusedError("missing_secret", f"the body holds no {self._name}: create the hook anew, with one")
        if len(values) > 1:
            # Two readers could take different ones, and only one of them is the secret.
            raise RefusedError("malformed_signature", f"the body holds more than one {self._name}: one is sent")
        given = values[0]
        if not isinstance(given, str):
            raise RefusedError("malformed_signature", f"{self._name} is not a text")
        for index, secret in enumerate(self._secrets):
            if same(secret, given):
                return index
        raise RefusedError(
            "bad_signature", "another secret: put the one this hook was created with into secrets, or create it anew"
        )

    def scheme(self, request: Request) -> str:
        """Return `body secret` or `none`."""
        return "body secret" if self.is_borne(request) else "none"

    def signed_time(self, request: Request) -> str | None:
        """Return None: no time is signed."""
        return None

    def signed_seconds(self, request: Request) -> float | None:
        """Return None: no time is signed."""
        return None

    def sign(self, draft: Draft) -> None:
        """Put the first secret into the body, which must be a JSON object."""
        try:
            others, _, rest = jsontext.cut(draft.body, self._name)
        except jsontext.NotJsonError as error:
            raise UsageError(f"this provider's body is a JSON object: {error}") from None
        opened = rest.rstrip(b" \t\r\n")[:-1]
        member = f"{',' if others else ''}{json.dumps(self._name)}:{json.dumps(self._secrets[0])}}}"
        draft.body = opened + member.encode()

    def without_secret(self, body: bytes) -> bytes:
        """Return ``body`` without the member, and with each copy of a secret in it masked.

        Raises RefusedError(malformed_body).
        """
        try:
            rest = jsontext.cut(body, self._name).rest
        except jsontext.NotJsonError as error:
            raise RefusedError("malformed_body", str(error)) from None
        return self._without_copies(rest)

    def _without_copies(self, rest: bytes) -> bytes:
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
        for secret in sorted(self._secrets, key=len, reverse=True):  # else one that begins another leaves its end
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
