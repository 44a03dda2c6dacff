"""How the C library handles this process's memory: what a large body took goes back to the system when the body is gone.

By itself glibc raises the size from which a block has pages of its own, up to 32 MiB, with the first large block that is freed.
From then on large bodies lie between small ones that live longer, and the process grows to several times what it holds: from
78 to 172 MiB in half a minute of overload, 78 MiB of it free and of no use to anybody.
"""

from __future__ import annotations

import ctypes
import gc

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

OWN_PAGES_BYTES = 65_536
"""Blocks of this size have pages of their own: a piece of a body as it is received is just as large."""
_KEPT_BYTES = 1_048_576
"""At the top of the heap, for the next small blocks."""


def freeze() -> None:
    """Take all there is now out of the collector's sight: it stays as long as the process.

    A full collection waits for new objects to be a quarter of all. Counting those of every module imported, that takes
    minutes, and until then each failed append may keep its payloads in a ring of exception, traceback and frame.
    """
    gc.collect()
    gc.freeze()


def give_back_early() -> None:
    """Set this for the whole process, and those it forks. Does nothing where the C library is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, OWN_PAGES_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_ARENA_MAX, 1)  # threads are few and take turns; each arena would keep pages of its own
