"""ingest.unpacking: a compressed body is unpacked whole and within its limit, or refused."""

from __future__ import annotations

import gzip
import zlib

from ingest.unpacking import CODINGS, NotPackedError, TooLargeError, unpack
from tests.fuzz.target import Target, expect

BYTES_MAX = 10_000


def unpacked(raw: bytes) -> None:
    """Any bytes, as if they were packed, and packed by us."""
    for coding in sorted(CODINGS):
        try:
            found = unpack(raw, coding, bytes_max=BYTES_MAX)
        except (TooLargeError, NotPackedError):
            continue
        expect(len(found) <= BYTES_MAX, "never more than is allowed")
        expect(found in _readings(raw), "it is what another reader makes of it")
    for coding, packed in (
        ("gzip", gzip.compress(raw, 1)),
        ("deflate", zlib.compress(raw, 1)),
        ("deflate", _bare(raw)),
    ):
        expect(unpack(packed, coding, bytes_max=len(raw)) == raw, "what was packed comes out again")
        for spoilt, limit in ((packed[:-1], BYTES_MAX), (packed + b"\x00", BYTES_MAX), (packed, len(raw) - 1)):
            expect(
                limit < 0 or _is_refused(spoilt, coding, limit), "cut off, followed by more, or too large it is refused"
            )


def _bare(raw: bytes) -> bytes:
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    return packer.compress(raw) + packer.flush()


def _readings(raw: bytes) -> list[bytes]:
    found = []
    for window_bits in (zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS):
        try:
            found.append(zlib.decompress(raw, window_bits))
        except zlib.error:
            continue
    return found


def _is_refused(packed: bytes, coding: str, bytes_max: int) -> bool:
    try:
        unpack(packed, coding, bytes_max=bytes_max)
    except (TooLargeError, NotPackedError):
        return True
    return False


_PLAIN = (b"", b"{}", b'{"a": 1}' * 50, b"a" * 20_000)
TARGETS = (
    Target(
        "unpacking",
        unpacked,
        [
            *map(gzip.compress, _PLAIN),
            *map(zlib.compress, _PLAIN),
            *map(_bare, _PLAIN),
            gzip.compress(b"a") + gzip.compress(b"b"),
        ],
        [b"\x1f\x8b\x08", b"\x78\x9c", b"\x03\x00", b"\x00\x00\x00\xff\xff", b"\x01\x00\x00\xff\xff"],
    ),
)
