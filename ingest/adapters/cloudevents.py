"""CloudEvents over HTTP, delivered as HTTP 1.1 Web Hooks for Event Delivery 1.0 says: bearer tokens, and a handshake.

Sources: the CloudEvents project's HTTP protocol binding and its specification of web hooks.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Sequence
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from ingest.adapters import cloudevent_modes as modes
from ingest.adapters.base import JsonSender, Parsed, RefusedError, Reply, Request, same, usable
from tidegate.errors import UsageError

ORIGIN = "WebHook-Request-Origin"
PARAMETER = "access_token"
_PARAMETERS_MAX = 1000
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}))*")


class CloudEventsAdapter(JsonSender):
    """``secrets`` are the tokens that senders may present, in Authorization or as the parameter `access_token`.

    ``allowed_origins`` are the senders that a handshake permits to deliver, DNS names; None permits each that asks. The
    handshake only tells a sender that this URL expects deliveries, which that of a configured source does: it guards
    others from being flooded, and gives no rights, since without a token nothing is taken. So it needs no list, but the
    answer always names the one origin that asked, never all.
    """

    provider = "cloudevents"
    content_types = frozenset({modes.STRUCTURED, modes.BATCHED, "*/*"})
    greets = frozenset({"OPTIONS"})
    secret_headers = frozenset({"authorization"})

    def __init__(self, secrets: Sequence[str], *, allowed_origins: Sequence[str] | None = None) -> None:
        given = usable(secrets)
        super().__init__(given)
        self._secrets = given
        self._tokens = [secret.encode().decode("latin-1") for secret in given]
        self._allowed = None if allowed_origins is None else frozenset(name.lower() for name in allowed_origins)
        for name in self._allowed or ():
            if not _HOST_NAME.fullmatch(name):
                raise UsageError(f"cloudevents option allowed_origins: {name!r} is no DNS name")
        self._per_minute: int | None = None

    def at_rate(self, per_second: float | None) -> Self:
        """Return the same adapter that tells senders in the handshake how often they may come."""
        paced = copy.copy(self)
        paced._per_minute = None if per_second is None else max(1, math.floor(per_second * 60))
        return paced

    def takes(self, media_type: str) -> bool:
        """Tell whether it can be read: any type can be an event's data, but of event formats only JSON is known."""
        return modes.takes(media_type)

    def trimmed(self) -> Self | None:
        """Return the same with the space around its secrets taken off; None when there is none."""
        bare = [secret.strip() for secret in self._secrets]
        if bare == list(self._secrets) or not all(bare):
            return None
        same_but_for_that = copy.copy(self)
        same_but_for_that._secrets = tuple(bare)
        same_but_for_that._tokens = [secret.encode().decode("latin-1") for secret in bare]
        return same_but_for_that

    def scheme(self, request: Request) -> str:
        """Return where a token is, `bearer` or `access_token`; joined by `+` where both are, `none` without one."""
        found = ["bearer"] if request.values("authorization") else []
        if any(name == PARAMETER for name, _ in _parameters(request.url)):
            found.append(PARAMETER)
        return "+".join(found) or "none"

    def clock_difference(self, request: Request, now_seconds: float) -> float | None:
        """Return None: a token says no time."""
        return None

    def greeting(self, request: Request, now_seconds: float) -> Reply | None:
        """Return the permission to deliver where an allowed sender asks for it.

        Everything else is no handshake: an answer without these headers means no, whatever its status. The callback that
        a sender may offer is never called: the URL is a stranger's.
        """
        asked = request.values(ORIGIN.lower())
        if request.method != "OPTIONS" or len(asked) != 1:
            return None
        origin = asked[0].strip()
        if not _HOST_NAME.fullmatch(origin) or (self._allowed is not None and origin.lower() not in self._allowed):
            return None
        rate = "*" if self._per_minute is None else str(self._per_minute)
        granted = (("Allow", "POST"), ("WebHook-Allowed-Origin", origin), ("WebHook-Allowed-Rate", rate))
        return Reply(200, headers=granted)

    def verify(self, request: Request, now_seconds: float) -> int:
        """Return which secret is the token of ``request``. The clock is not asked: nothing is signed.

        The token stands in one place: whoever logs or strips one of two leaves us the other.
        """
        borne = request.header("authorization")
        parameters = [value for name, value in _parameters(request.url) if name == PARAMETER]
        if len(parameters) + (borne is not None) > 1:
            raise RefusedError(
                "malformed_signature", f"more than one token: one of Authorization and {PARAMETER} is sent"
            )
        given = _bearer(borne) if borne is not None else parameters[0] if parameters else ""
        if not given:
            raise RefusedError(
                "missing_secret", f"neither Authorization: Bearer nor {PARAMETER}: give the sender a token"
            )
        for index, (token, secret) in enumerate(zip(self._tokens, self._secrets, strict=True)):
            if same(token if borne is not None else secret, given):
                return index
        raise RefusedError("bad_signature", "another token: compare it with the one given to the sender")

    def split(self, request: Request) -> list[Parsed]:
        """Return the events, in whichever content mode they came."""
        return modes.events(request)

    def sign(
        self,
        body: bytes,
        *,
        url: str,
        now_seconds: float,
        message_id: str,
        headers: Sequence[tuple[str, str]] = (),
    ) -> tuple[list[tuple[str, str]], bytes]:
        """Return the request: ``body`` is an event, an array of them, or with ``ce-`` headers the data of one."""
        made = list(headers)
        if not any(name.lower() == "content-type" for name, _ in headers):
            made.insert(0, ("Content-Type", modes.content_type_of(body, headers)))
        return [*made, ("Authorization", f"Bearer {self._tokens[0]}")], body


def _bearer(value: str) -> str:
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer":
        raise RefusedError("wrong_scheme", "Authorization does not begin with Bearer")
    return token.strip(" ")


def _parameters(url: str) -> list[tuple[str, str]]:
    """Return the parameters of ``url``, none where it cannot be read; an escape that is not UTF-8 matches no token."""
    try:
        query = urlsplit(url).query
        return parse_qsl(query, keep_blank_values=True, errors="surrogateescape", max_num_fields=_PARAMETERS_MAX)
    except ValueError:
        return []
