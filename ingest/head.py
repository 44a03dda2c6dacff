"""A request before its body: what is said of it, and what follows from that alone. Pure."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace

from starlette.types import Scope

from ingest import problems
from ingest.problems import ProblemError
from ingest.source import Source
from ingest.unpacking import CODINGS

ROUTE = "/webhooks/"
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Head:
    """``headers``: pairs, names lower-cased, values as latin-1. ``address``: of the client, as far as proxies are believed.

    ``content_type`` is without parameters, lower-cased, empty where there is none; ``coding`` likewise, empty for identity.
    """

    method: str
    source: str
    headers: list[tuple[str, str]]
    address: str
    scheme: str
    request_id: str
    content_type: str
    coding: str
    has_body: bool
    hosts: int
    user_agent: str = ""

    @classmethod
    def of(cls, scope: Scope) -> Head:
        """Return what ``scope`` says. Never refuses anything: what is refused is recorded with its head."""
        headers = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in scope["headers"]]
        given: dict[str, list[str]] = {}
        for key, value in headers:
            given.setdefault(key, []).append(value.strip())
        request_ids = given.get("x-request-id", [])
        accepted = len(request_ids) == 1 and _REQUEST_ID.fullmatch(request_ids[0])
        client = scope.get("client")
        return cls(
            method=scope["method"],
            source=scope["path"][len(ROUTE) :],
            headers=headers,
            address=str(client[0]) if client else "",
            scheme=scope["scheme"],
            request_id=request_ids[0] if accepted else uuid.uuid4().hex,
            content_type=", ".join(given.get("content-type", [])).partition(";")[0].strip().lower(),
            coding=", ".join(value for value in given.get("content-encoding", []) if value).lower(),
            has_body="transfer-encoding" in given or any(value != "0" for value in given.get("content-length", [])),
            hosts=len(given.get("host", [])) if scope["http_version"] != "1.0" else 1,
            user_agent=given["user-agent"][0] if "user-agent" in given else "",
        )

    def header(self, name: str) -> str:
        """Return the first value of ``name`` (lower case), empty when absent."""
        return next((value for key, value in self.headers if key == name), "")

    def check(self, source: Source, *, body_bytes_max: int) -> Head:
        """Return the head with its coding made plain; raise ProblemError for what needs no look at the body."""
        if self.hosts != 1:  # a proxy and we could each take another one for the URL that is signed
            raise ProblemError(problems.BAD_HOST, "headers", f"{self.hosts} Host headers")
        if self.header("transfer-encoding").lower() not in ("", "chunked"):
            raise ProblemError(problems.WRONG_CODING, "encoding")
        types = [value for key, value in self.headers if key == "content-type"]
        # Of no body the type says nothing: Microsoft Graph asks whether somebody is there with an empty text/plain.
        if len(types) > 1 or (types and self.has_body and not source.adapter.takes(self.content_type)):
            raise ProblemError(problems.WRONG_TYPE, "content_type")
        coding = "" if self.coding == "identity" else self.coding
        if coding and coding not in CODINGS:
            raise ProblemError(problems.WRONG_CODING, "encoding")
        length = self.header("content-length")
        if length.isdecimal() and int(length[:20]) > body_bytes_max:
            raise ProblemError(
                problems.TOO_LARGE, "too_large", f"announces {length[:20]} bytes, {body_bytes_max} are allowed"
            )
        return replace(self, coding=coding)

    def url(self, scope: Scope, public_url: str | None) -> str:
        """Return the URL as the provider signed it: what it was told, and the query string it called us with."""
        base = public_url if public_url is not None else f"{self.scheme}://{self.header('host')}{_path(scope)}"
        return _with_query(base, scope)

    def secure_url(self, scope: Scope, public_url: str | None) -> str:
        """Return where the same request is welcome: under https. Raises ProblemError for a Host that is none."""
        if public_url is not None and public_url.startswith("https://"):
            return _with_query(public_url, scope)
        host = self.header("host")
        if not _HOST.fullmatch(host):  # it would be sent back in a header
            raise ProblemError(problems.BAD_HOST, "not_https", "plain HTTP, and a Host header that is none")
        return _with_query(f"https://{host}{_path(scope)}", scope)


def _path(scope: Scope) -> str:
    path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
    return path.decode("latin-1")


def _with_query(base: str, scope: Scope) -> str:
    query = scope["query_string"].decode("latin-1")
    return f"{base.partition('?')[0]}?{query}" if query else base
