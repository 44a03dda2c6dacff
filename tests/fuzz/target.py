"""What is fuzzed: a check that one input passes or fails, and inputs to begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """``check`` raises whatever is wrong: AssertionError where a promise is broken, else what the parser let through.

    ``seeds`` are good inputs and known bad ones; ``words`` are pieces that the engine may put in.
    """

    name: str
    check: Callable[[bytes], None]
    seeds: Sequence[bytes]
    words: Sequence[bytes] = ()


def expect(holds: bool, promise: str) -> None:
    """Raise AssertionError naming the broken ``promise``. Not `assert`, which nothing rewrites in the engine's process."""
    if not holds:
        raise AssertionError(promise)
