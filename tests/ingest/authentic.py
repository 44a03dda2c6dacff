"""Whether a request bears the right signature for its bytes, said without the adapters: by what the providers document."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import zlib
from dataclasses import replace
from typing import Any

from tests.ingest.hostile import Sent
from tests.ingest.process import SECRETS


def is_authentic(sent: Sent) -> bool:
    """Tell whether ``sent`` is signed for exactly its bytes, each header that counts being there once.

    The bytes are those that came, or what they are unpacked: a proxy may have packed what was signed.
    """
    return any(_is_signed(replace(sent, body=body)) for body in _readings(sent))


def _readings(sent: Sent) -> list[bytes]:
    found = [sent.body]
    for window_bits in (zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS):
        with contextlib.suppress(zlib.error):
            found.append(zlib.decompress(sent.body, window_bits))
    return found


def _is_signed(sent: Sent) -> bool:
    found: dict[bytes, list[bytes]] = {}
    for name, value in sent.headers:
        found.setdefault(name.lower(), []).append(value.strip(b" \t"))
    secret = SECRETS[sent.source]
    match sent.source:
        case "crm":
            return _standard(found, sent.body, secret, b"webhook")
        case "mail":
            return _standard(found, sent.body, secret, b"svix") or _standard(found, sent.body, secret, b"webhook")
        case "hubspot":
            return _hubspot(found, sent, secret.encode())
    return _lemlist(sent.body, secret)


def _one(found: dict[bytes, list[bytes]], name: bytes) -> bytes | None:
    values = found.get(name.lower(), [])
    return values[0] if len(values) == 1 else None


def _standard(found: dict[bytes, list[bytes]], body: bytes, secret: str, prefix: bytes) -> bool:
    named = [_one(found, prefix + part) for part in (b"-id", b"-timestamp", b"-signature")]
    if None in named:
        return False
    message_id, timestamp, signatures = (part or b"" for part in named)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, b".".join([message_id, timestamp, body]), hashlib.sha256).digest()
    return b"v1," + base64.b64encode(digest) in signatures.split(b" ")


def _hubspot(found: dict[bytes, list[bytes]], sent: Sent, secret: bytes) -> bool:
    url = b"http://" + found.get(b"host", [b""])[0] + sent.target.partition(b"#")[0]
    if b"x-hubspot-signature-v3" in found:
        timestamp = _one(found, b"X-HubSpot-Request-Timestamp") or b""
        decoded = re.sub(rb"(?i)%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", lambda at: bytes.fromhex(at[1].decode()), url)
        digest = hmac.new(secret, b"POST" + decoded + sent.body + timestamp, hashlib.sha256).digest()
        return _one(found, b"X-HubSpot-Signature-v3") == base64.b64encode(digest)
    given = _one(found, b"X-HubSpot-Signature")
    signed = {b"v1": b"", b"v2": b"POST" + url}.get(_one(found, b"X-HubSpot-Signature-Version") or b"")
    return signed is not None and given == hashlib.sha256(secret + signed + sent.body).hexdigest().encode()


def _lemlist(body: bytes, secret: str) -> bool:
    def members(pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        return pairs

    try:
        found = json.loads(body.decode(), object_pairs_hook=members)
    except ValueError:
        return False
    return [value for name, value in found if name == "secret"] == [secret]
