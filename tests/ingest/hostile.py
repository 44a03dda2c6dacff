"""What a hostile client may send: requests that were authentic, until something was done to them."""

from __future__ import annotations

import gzip
import json
import re
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from tests.ingest.adapters.requests import json_values
from tests.ingest.process import SECRETS, Gate, Pairs, render
from tidegate.errors import UsageError

BODIES = {
    "crm": b'{"type": "campaign.created", "timestamp": "2026-01-01T00:00:00Z", "data": {"campaign_id": "c-1"}}',
    "mail": b'{"type": "email.bounced", "created_at": "2026-01-01T00:00:00Z", "data": {"id": "m-1"}}',
    "lemlist": b'{"_id": "act_1", "type": "emailsOpened", "campaignId": "cam_1", "leadId": "lea_1"}',
    "hubspot": b'[{"eventId": 1, "portalId": 2, "objectId": 3, "occurredAt": 1752662400000, '
    b'"subscriptionType": "contact.creation", "attemptNumber": 0, "subscriptionId": 4}]',
}
"""One good body for each source."""

_NAMES = (
    "_id", "type", "secret", "createdAt", "data", "timestamp", "eventId", "portalId", "objectId", "occurredAt",
    "subscriptionType", "propertyName", "fromObjectId", "toObjectId",
)  # fmt: skip
_DEEP = 50_000
_BODIES = [
    b"", b" ", b"null", b"1e999", b'"a"', b"[]", b"{}", b"[[]]", b"[null]", b"{", b'{"_id"', b"\x00", b"[1,]", b"a=1&b=2",
    b'{"type": NaN}', b'[{"eventId": Infinity}]', b'{"_id": -Infinity}', b'{"_id": "\\u0000"}', b'{"a": 1}\x00', b"<a/>",
    b'{"type": "\\ud800"}', b'{"_id": "\\ud800\\udc00\\udc00"}', b'{"_id": "a", "_id": "b"}', b'{"_id": "a", "\\u005fid": "b"}',
    b'{"type": "a", "type": ["b"]}', b"[" * _DEEP, b"[" * _DEEP + b"]" * _DEEP, b'[{"a":' * (_DEEP // 5),
    b'{"a":' * (_DEEP // 2) + b"1" + b"}" * (_DEEP // 2), b'{"_id": "%s"}' % (b"x" * 100_000),
    b'{"_id": %s}' % (b"7" * 100_000), b'[{"eventId": %s}]' % (b"7" * 100_000), b'{"data": {"id": -%s}}' % (b"7" * 5000),
    b'{"type": "%s"}' % ("é".encode() * 300), b'{"type": "\xe9"}', b"\xef\xbb\xbf{}", b"\xff\xfe", b"\xed\xa0\x80",
    '{"_id": "a"}'.encode("utf-16"), '{"_id": "a"}'.encode("utf-16-le"), '{"_id": "a"}'.encode("utf-32"),
    gzip.compress(b'{"_id": "a"}'), gzip.compress(b" " * 10_000_000), b"[%s]" % b",".join([b"{}"] * 1001),
]  # fmt: skip
_VALUES = [
    b"", b"v1,", b"v1", b"v1a,AAAA", b"v2,AAAA", b",", b"=" * 50, b"!!!!", b"v1,\xff\xfe", b"v1,A " * 500, b"v1a," + b"A" * 88,
    b"NaN", b"1e9", b"-1", b"+1789000000", b"1_789", b"0x10", b"1789000000.5", b"1789000000", b"9" * 400, b"0" * 400,
    "１７８９０００".encode(), "१२३".encode(), b"\xb2", b"\x7f", b"a\tb", b"\x01", b"a\x00b", b"\xe2\x80\xa8", b"\x85", b"v3",
    b"msg.1", b"msg 1", b"%00", b"${jndi:ldap://x}", b"{0.__class__}", b"%s%n", b"text/plain", b"application/x+json",
    b"application/json; charset=utf-16", b"application/json, text/html", b"gzip", b"identity", b"br, gzip", b"a" * 8000,
]  # fmt: skip
_HEADERS = [
    b"webhook-id", b"webhook-timestamp", b"webhook-signature", b"svix-id", b"svix-timestamp", b"svix-signature",
    b"X-HubSpot-Signature-v3", b"X-HubSpot-Request-Timestamp", b"X-HubSpot-Signature", b"X-HubSpot-Signature-Version",
    b"Content-Type", b"Content-Encoding", b"Host", b"X-Forwarded-Proto", b"X-Forwarded-For", b"X-Request-Id", b"Origin",
    b"User-Agent", b"Cookie", b"Authorization", b"Accept", b"Range", b"X-HTTP-Method-Override", b"__proto__", b"a" * 300,
]  # fmt: skip
_FRAMING = [
    (b"Content-Length", b"0"), (b"Content-Length", b"5"), (b"Content-Length", b"-1"), (b"Content-Length", b"+5"),
    (b"Content-Length", b"9" * 30), (b"Content-Length", b"1_0"), (b"Content-Length", b"\xb2"), (b"Content-Length", b"5, 5"),
    (b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"gzip, chunked"), (b"Transfer-Encoding", b"identity"),
    (b"Connection", b"upgrade"), (b"Upgrade", b"websocket"), (b"Upgrade", b"h2c"), (b"Expect", b"100-continue"),
    (b"Expect", b"x"), (b"Connection", b"close"), (b"Connection", b"content-length"), (b"Trailer", b"webhook-id"),
]  # fmt: skip
_TARGETS = [
    b"", b"/", b"//", b"/%00", b"/%2e%2e", b"/%2E%2E%2Fmetrics", b"%2F", b"%", b"%zz", b"%C3%28", b"%ed%a0%80", b"\xc3\xa9", b"?",
    b"??", b"?a=%00", b"?a=b&a=c", b"?\xff", b"?%zz", b"?a=" + b"x" * 8000, b"#frag", b";v=1", b"/../crm", b"%20", b"\\",
    b"?%3F=%3F", b"\x01", b"@host", b":80",
]  # fmt: skip
_METHODS = [
    b"GET",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"post",
    b"QUERY",
    b"P\x00ST",
]


@dataclass(frozen=True)
class Edit:
    """One small change at some place in some bytes, whatever their length."""

    kind: str
    at: int
    piece: bytes

    def of(self, raw: bytes) -> bytes:
        """Return ``raw`` changed."""
        at = self.at % (len(raw) + 1)
        match self.kind:
            case "insert":
                return raw[:at] + self.piece + raw[at:]
            case "delete":
                return raw[:at] + raw[at + len(self.piece) :]
            case "repeat":
                return raw[:at] + raw[at : at + 8] * len(self.piece) + raw[at:]
        return raw[:at] + bytes(byte ^ self.piece[0] for byte in raw[at : at + 1]) + raw[at + 1 :]


@dataclass(frozen=True)
class Attack:
    """An authentic request for ``source``, and what is done to it once it is signed."""

    source: str
    body: bytes | None = None
    packed: bytes = b""
    body_edits: Sequence[Edit] = ()
    value_edits: Sequence[tuple[int, Edit]] = ()
    dropped: Sequence[int] = ()
    doubled: Sequence[int] = ()
    added: Sequence[tuple[bytes, bytes]] = ()
    method: bytes = b"POST"
    suffix: bytes = b""
    chunked: bool = False
    cut_at: Sequence[int] = ()
    secret_in: str | None = None

    def made(self, gate: Gate) -> Sent:
        """Return the request for ``gate``."""
        secret = SECRETS[self.source].encode()
        body = BODIES[self.source] if self.body is None else self.body
        if self.secret_in == "body":
            body = b'{"%s": [{"%s": "%s"}]}' % (secret, secret, secret)
        suffix = self.suffix + {"path": b"/" + secret, "query": b"?secret=" + quote(secret).encode()}.get(
            self.secret_in or "", b""
        )
        try:
            headers, body = gate.sign(self.source, body, f"msg_{secrets.token_hex(8)}", suffix.decode("latin-1"))
        except UsageError:  # no body that Lemlist could send: then as it is, which only its absence of a secret refuses
            headers, body = gate.sign(self.source, BODIES[self.source], "msg_1")[0], body
        if self.packed:
            body = gzip.compress(body) if self.packed == b"gzip" else zlib.compress(body)
            headers.append((b"Content-Encoding", self.packed))
        for edit in self.body_edits:
            body = edit.of(body)
        for at, edit in self.value_edits:
            name, value = headers[at % len(headers)]
            headers[at % len(headers)] = (name, re.sub(rb"[\r\n]", b" ", edit.of(value)))
        headers += [headers[at % len(headers)] for at in self.doubled]
        for at in self.dropped:
            del headers[at % len(headers)]
        headers += self.added
        if self.secret_in == "header":
            headers += [
                (b"User-Agent", secret),
                (b"Cookie", b"s=" + secret),
                (b"webhook-id", secret),
                (b"svix-id", secret),
            ]
        target = f"/webhooks/{self.source}".encode() + suffix
        return Sent(self.source, self.method, target, headers, body, self.chunked, self.cut_at)


@dataclass(frozen=True)
class Sent:
    """A request as it is sent."""

    source: str
    method: bytes
    target: bytes
    headers: Pairs
    body: bytes
    chunked: bool
    cut_at: Sequence[int]

    @property
    def is_one_request(self) -> bool:
        """Whether its headers do not change where it ends: only then must there be one answer."""
        spoilt = {b"content-length", b"transfer-encoding", b"upgrade", b"connection", b"expect"}
        return not any(name.lower() in spoilt for name, _ in self.headers) and self.method != b"CONNECT"

    @property
    def pieces(self) -> list[bytes]:
        """Its bytes, in the pieces in which they go out."""
        whole = render(self.target, self.headers, self.body, method=self.method, chunked=self.chunked)
        places = sorted({0, *(at % len(whole) for at in self.cut_at), len(whole)})
        return [whole[start:end] for start, end in pairwise(places)]


edits = st.builds(
    Edit,
    st.sampled_from(["flip", "insert", "delete", "repeat"]),
    st.integers(0, 5000),
    st.binary(min_size=1, max_size=4),
)
_few = st.integers(0, 20)
_values = st.sampled_from(_VALUES) | st.binary(max_size=30).map(lambda raw: re.sub(rb"[\r\n]", b"", raw))
_bodies = (
    st.sampled_from(_BODIES)
    | st.binary(max_size=60)
    | json_values(_NAMES).map(lambda value: json.dumps(value).encode())
)


_headers = st.tuples(st.sampled_from(_HEADERS), _values) | st.sampled_from(_FRAMING)
_CHANGES: dict[str, st.SearchStrategy[object]] = {
    "body": _bodies,
    "packed": st.sampled_from([b"gzip", b"deflate"]),
    "body_edits": st.lists(edits, min_size=1, max_size=2),
    "value_edits": st.lists(st.tuples(_few, edits), min_size=1, max_size=2),
    "dropped": st.lists(_few, min_size=1, max_size=1),
    "doubled": st.lists(_few, min_size=1, max_size=2),
    "added": st.lists(_headers, min_size=1, max_size=2),
    "method": st.sampled_from(_METHODS),
    "suffix": st.sampled_from(_TARGETS),
    "chunked": st.just(True),
    "cut_at": st.lists(st.integers(0, 1000), min_size=1, max_size=3),
    "secret_in": st.sampled_from(["path", "query", "header", "body"]),
}


@st.composite
def attacks(draw: st.DrawFn, source: str) -> Attack:
    """Return attacks on ``source``: few changes each, or each would be refused for the first of many reasons."""
    chosen = draw(st.lists(st.sampled_from(sorted(_CHANGES)), max_size=3, unique=True))
    changed: dict[str, Any] = {name: draw(_CHANGES[name]) for name in chosen}
    return Attack(source, **changed)
