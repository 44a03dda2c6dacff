"""Requests as bytes made beforehand: a flood must cost its sender less than the gate. Only the event's id is put in.

| kind     | body                                                             | of all |
|----------|------------------------------------------------------------------|--------|
| small    | 1-2 KiB, an ordinary activity                                    | 94.8 % |
| middling | about 100 KiB, the text of an e-mail                             | 4 %    |
| text     | 1-2 MiB, one long text                                           | 0.4 %  |
| records  | 1-2 MiB, thousands of small objects: twenty times that as Python | 0.3 %  |
| packed   | 1.9 MiB of records in some KiB of gzip; few ids, again and again | 0.1 %  |
| large    | announces 3 MiB, a third more than is allowed                    | 0.2 %  |
| endless  | 3 MiB in chunks, of which the gate is not told beforehand        | 0.2 %  |
"""

from __future__ import annotations

import base64
import json
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

KIB, MIB = 1 << 10, 1 << 20
KINDS = {"small": 94.8, "middling": 4, "text": 0.4, "records": 0.3, "packed": 0.1, "large": 0.2, "endless": 0.2}
VARIANTS = 8
ID_CHARS = 16
PACKED = 20
_BEGIN = b'{"_id":"'


@dataclass(frozen=True, slots=True)
class Template:
    """What comes before and after the id."""

    before: bytes
    after: bytes


class Requests:
    """An endless row of requests to `/webhooks/lemlist`, whose secret is in each body; ``name`` begins each id."""

    def __init__(self, secret: str, *, name: str, chance: random.Random) -> None:
        self._secret = secret
        self._name = name
        self._chance = chance
        self._count = 0
        self._packed = [self._pack(f"{name}-packed-{number}") for number in range(PACKED)]
        self._templates = {kind: [self._template(kind) for _ in range(VARIANTS)] for kind in KINDS if kind != "packed"}

    def next(self, kind: str = "") -> tuple[str, list[bytes]]:
        """Return the id of the next event and the pieces of its request; of ``kind``, or any."""
        kind = kind or self._chance.choices(list(KINDS), list(KINDS.values()))[0]
        if kind == "packed":
            return self._chance.choice(self._packed)
        self._count += 1
        name = f"{self._name}-{self._count:0{ID_CHARS - len(self._name) - 1}d}"
        template = self._chance.choice(self._templates[kind])
        return name, [template.before, name.encode(), template.after]

    def _template(self, kind: str) -> Template:
        body = self._body(kind)
        length = len(_BEGIN) + ID_CHARS
        if kind == "endless":
            return Template(_head("Transfer-Encoding: chunked") + b"%x\r\n" % length + _BEGIN, b"\r\n" + _chunks(body))
        return Template(_head(f"Content-Length: {length + len(body)}") + _BEGIN, body)

    def _body(self, kind: str) -> bytes:
        """Return the body without its beginning: the opening brace, and the id."""
        chance = self._chance
        size = {
            "small": chance.randrange(KIB, 2 * KIB),
            "middling": chance.randrange(90 * KIB, 110 * KIB),
            "text": chance.randrange(MIB, 2 * MIB - 4 * KIB),
            "records": chance.randrange(MIB, 2 * MIB - 4 * KIB),
        }.get(kind, 3 * MIB)
        rest = {"type": "emailsOpened", "secret": self._secret, "campaignId": "cam_1", "leadId": "lea_1"}
        more = _records(size, chance) if kind == "records" else json.dumps(_text(size, chance)).encode()
        return b'",' + json.dumps(rest).encode()[1:-1] + b',"data":' + more + b"}"

    def _pack(self, name: str) -> tuple[str, list[bytes]]:
        rest = {"_id": name, "type": "emailsOpened", "secret": self._secret}
        body = json.dumps(rest).encode()[:-1] + b',"data":' + _records(1900 * KIB, random.Random(1)) + b"}"
        packer = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
        packed = packer.compress(body) + packer.flush()
        return name, [_head(f"Content-Encoding: gzip\r\nContent-Length: {len(packed)}"), packed]


def _head(framing: str) -> bytes:
    return (
        "POST /webhooks/lemlist HTTP/1.1\r\nHost: gate\r\nContent-Type: application/json\r\n"
        f"User-Agent: overload\r\n{framing}\r\n\r\n"
    ).encode()


def _chunks(body: bytes) -> bytes:
    pieces: Sequence[bytes] = [body[at : at + 16 * KIB] for at in range(0, len(body), 16 * KIB)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _text(size: int, chance: random.Random) -> str:
    return base64.b64encode(chance.randbytes(size * 3 // 4)).decode()


def _records(size: int, chance: random.Random) -> bytes:
    one = [f'{{"n":{chance.randrange(1000, 9999)},"to":"ada@example.com"}}' for _ in range(100)]
    count = size // (len(one[0]) + 1)
    return b"[" + ",".join(one[number % len(one)] for number in range(count)).encode() + b"]"
