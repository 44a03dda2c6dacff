"""Redis: the keys, the moves, and nothing else that talks to it."""

from tidegate.stream.client import UNAVAILABLE, Client, connect, require
from tidegate.stream.keys import GROUP, NOBODY, Keys
from tidegate.stream.stream import Appendable, BacklogFullError, Settlement, ShardState, Stream, Stuck

__all__ = [
    "GROUP",
    "NOBODY",
    "UNAVAILABLE",
    "Appendable",
    "BacklogFullError",
    "Client",
    "Keys",
    "Settlement",
    "ShardState",
    "Stream",
    "Stuck",
    "connect",
    "require",
]
