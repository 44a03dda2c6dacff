"""Tidegate: a stream processor for webhooks on Redis Streams and Postgres that neither loses nor doubles an event."""

from importlib.metadata import PackageNotFoundError, version

from tidegate.event import Event
from tidegate.handlers import Batch, Handlers, Reject, Retry, release

try:
    __version__ = version("tidegate")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

__all__ = ["Batch", "Event", "Handlers", "Reject", "Retry", "__version__", "release"]
