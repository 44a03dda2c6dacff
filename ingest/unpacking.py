"""Compressed bodies, unpacked piece by piece: a bomb is noticed when it exceeds the limit, not when it has gone off."""

from __future__ import annotations

import zlib

PIECE_BYTES = 65_536
CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
"""One of them, once: a body that was compressed twice is somebody's joke."""


class TooLargeError(Exception):
    """Unpacked, the body is larger than allowed."""


class NotPackedError(ValueError):
    """The bytes are not what Content-Encoding says."""


def unpack(packed: bytes, coding: str, *, bytes_max: int) -> bytes:
    """Return the body that ``packed`` is under ``coding``, one of CODINGS.

    Never holds more than ``bytes_max`` and a piece. Raises TooLargeError, or NotPackedError for damaged, cut off or
    trailing data. `deflate` is read with its zlib header, and without it as some clients send it.
    """
    if coding == "deflate":
        try:
            return _inflate(packed, zlib.MAX_WBITS, bytes_max)
        except NotPackedError:
            return _inflate(packed, -zlib.MAX_WBITS, bytes_max)
    return _inflate(packed, zlib.MAX_WBITS | 16, bytes_max)


def _inflate(packed: bytes, window_bits: int, bytes_max: int) -> bytes:
    stream = zlib.decompressobj(window_bits)
    pieces: list[bytes] = []
    size = 0
    left = packed
    while not stream.eof:
        try:
            piece = stream.decompress(left, PIECE_BYTES)
        except zlib.error as error:
            raise NotPackedError(str(error)) from None
        left = stream.unconsumed_tail
        size += len(piece)
        if size > bytes_max:
            raise TooLargeError
        if not piece and not left and not stream.eof:
            raise NotPackedError("the compressed data ends too early")
        pieces.append(piece)
    if stream.unused_data:
        # A second member could say something else than the first, and who reads which cannot be known.
        raise NotPackedError("data follows the compressed data")
    return b"".join(pieces)
