"""Redis: the keys, the moves, and nothing else that talks to it."""

from tidegate.stream.calls import is_nogroup
from tidegate.stream.client import UNAVAILABLE, Client, connect, require
from tidegate.stream.keys import GROUP, NOBODY, Keys
from tidegate.stream.records import (
    Appendable,
    BacklogFullError,
    Claimed,
    Owned,
    Reentered,
    Settled,
    Settlement,
    ShardState,
    Stuck,
)
from tidegate.stream.rejected import Rejected, RejectedLog
from tidegate.stream.stream import Stream

__all__ = [
    "GROUP",
    "NOBODY",
    "UNAVAILABLE",
    "Appendable",
    "BacklogFullError",
    "Claimed",
    "Client",
    "Keys",
    "Owned",
    "Reentered",
    "Rejected",
    "RejectedLog",
    "Settled",
    "Settlement",
    "ShardState",
    "Stream",
    "Stuck",
    "connect",
    "is_nogroup",
    "require",
]
