"""Redis: the keys, the moves, and nothing else that talks to it."""

from tidegate.stream.calls import NotReplicatedError, Replicas, is_nogroup
from tidegate.stream.client import UNAVAILABLE, Client, connect, is_out_of_memory, require
from tidegate.stream.keys import GROUP, NOBODY, Keys
from tidegate.stream.pauses import Mode, Pause, Pauses, PauseView
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
from tidegate.stream.secret_uses import SecretUse, SecretUses, Used
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
    "Mode",
    "NotReplicatedError",
    "Owned",
    "Pause",
    "PauseView",
    "Pauses",
    "Reentered",
    "Rejected",
    "RejectedLog",
    "Replicas",
    "SecretUse",
    "SecretUses",
    "Settled",
    "Settlement",
    "ShardState",
    "Stream",
    "Stuck",
    "Used",
    "connect",
    "is_nogroup",
    "is_out_of_memory",
    "require",
]
