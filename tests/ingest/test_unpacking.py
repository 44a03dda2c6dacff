"""A compressed body is read whole, or refused before it has cost more memory than a plain one may."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.unpacking import CODINGS, NotPackedError, TooLargeError, unpack


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


@given(st.binary(max_size=3000), st.sampled_from(sorted(CODINGS)))
def test_what_was_packed_comes_out_as_it_was(body: bytes, coding: str) -> None:
    assert unpack(PACKERS[coding](body), coding, bytes_max=3000) == body


def test_deflate_without_its_header_is_read_too() -> None:
    body = b'{"a": 1}' * 100
    assert unpack(raw_deflate(body), "deflate", bytes_max=10_000) == body


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_the_limit_is_of_the_body_unpacked_and_exact(coding: str) -> None:
    packed = PACKERS[coding](b"a" * 100_000)
    assert len(unpack(packed, coding, bytes_max=100_000)) == 100_000
    with pytest.raises(TooLargeError):
        unpack(packed, coding, bytes_max=99_999)


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_a_bomb_costs_no_more_memory_than_the_limit(coding: str) -> None:
    bomb = PACKERS[coding](bytes(200_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            unpack(bomb, coding, bytes_max=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("coding", sorted(CODINGS))
@given(st.data())
def test_damaged_cut_off_or_followed_by_more_is_refused_and_nothing_else(coding: str, data: st.DataObject) -> None:
    packed = PACKERS[coding](b'{"type": "emailsOpened", "n": 12345}')
    at = data.draw(st.integers(0, len(packed) - 1))
    for wrong in (packed[:at], packed + b"more", packed + packed):
        with pytest.raises(NotPackedError):
            unpack(wrong, coding, bytes_max=1000)
    flipped = packed[:at] + bytes([packed[at] ^ data.draw(st.integers(1, 255))]) + packed[at + 1 :]
    with contextlib.suppress(NotPackedError, TooLargeError):
        unpack(flipped, coding, bytes_max=1000)  # a bit of gzip's own header may change without a loss
