"""Every metric, declared once, with closed label sets.

Names and labels are relied upon by dashboards. A ``source`` label is a configured source or ``other``: a client that
invents paths must not invent time series.

Each gauge says what several processes show as one (shared.py): the newest word on something they all look at, or the
worst of what each has its own of.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from tidegate import __version__

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LONG_SECONDS = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 7200)

INGEST_REQUESTS = Counter("tidegate_ingest_requests_total", "Webhook requests by answer.", ["source", "status"])
INGEST_SECONDS = Histogram(
    "tidegate_ingest_seconds", "Time from the first byte of a request to its answer.", buckets=_SECONDS
)
SECRET_USES = Counter(
    "tidegate_secret_uses_total",
    "Requests that a secret of a source verified, by its label in the settings.",
    ["source", "secret"],
)
KEPT = Counter("tidegate_kept_total", "Events made durable before their 202, by tier; duplicates included.", ["tier"])
ADMISSION_CLOSED = Gauge(
    "tidegate_admission_closed",
    "1 while the gate answers 503 since this is at its limit.",
    ["limit"],
    multiprocess_mode="livemax",
)
REJECTED = Counter(
    "tidegate_rejected_total",
    "Requests refused, by reason; `tidegate rejects` shows the last ones.",
    ["source", "reason"],
)
CONNECTIONS = Gauge("tidegate_connections", "Open connections of a gate.", multiprocess_mode="livesum")
CONNECTIONS_CLOSED = Counter(
    "tidegate_connections_closed_total", "Connections that a gate closed, by reason.", ["reason"]
)
EVENTS = Counter("tidegate_events_total", "Deliveries settled, by outcome.", ["source", "outcome"])
APPLY_SECONDS = Histogram("tidegate_apply_seconds", "Time of one batch's transaction.", buckets=_SECONDS)
END_TO_END_SECONDS = Histogram(
    "tidegate_end_to_end_seconds", "Time from received to applied, an event.", buckets=_LONG_SECONDS
)
BATCH_SIZE = Histogram("tidegate_batch_size", "Deliveries a batch.", buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000))
BACKLOG = Gauge("tidegate_backlog", "Entries waiting.", ["shard", "queue"], multiprocess_mode="livemostrecent")
OLDEST_SECONDS = Gauge(
    "tidegate_oldest_seconds",
    "Age of the oldest entry waiting; 0 when none.",
    ["shard", "queue"],
    multiprocess_mode="livemostrecent",
)
RETRIES = Counter("tidegate_retries_total", "Deliveries sent to the retry stream.", ["source", "reason"])
CLAIMED = Counter("tidegate_claimed_total", "Entries taken over from workers that stopped renewing them.")
DEAD_LETTERS_OPEN = Gauge(
    "tidegate_dead_letters_open", "Open dead letters.", ["source"], multiprocess_mode="livemostrecent"
)
BREAKER_STATE = Gauge(
    "tidegate_breaker_state",
    "0 closed, 1 half open (one tries), 2 open (nobody does).",
    ["target"],
    multiprocess_mode="livemax",
)
REDIS_ERRORS = Counter("tidegate_redis_errors_total", "Failed talks with Redis.", ["kind"])
REDIS_RESETS = Counter(
    "tidegate_redis_resets_total", "Times this worker was the first to see that Redis lost its data."
)
INBOX_ROWS = Gauge("tidegate_inbox_rows", "Events in Postgres that wait for Redis.", multiprocess_mode="livemostrecent")
INBOX_BYTES = Gauge("tidegate_inbox_bytes", "Bytes of them.", multiprocess_mode="livemostrecent")
INBOX_OLDEST_SECONDS = Gauge(
    "tidegate_inbox_oldest_seconds", "Age of the oldest of them; 0 when none.", multiprocess_mode="livemostrecent"
)
INBOX_MOVED = Counter("tidegate_inbox_moved_total", "Events moved from Postgres to the streams.")
UNACCOUNTED = Gauge(
    "tidegate_unaccounted",
    "Deliveries missing from the ledger; anything but 0 is an alarm.",
    ["shard"],
    multiprocess_mode="livemostrecent",
)
# An Info in all but its class, which does not work in several processes.
BUILD_INFO = Gauge("tidegate_build_info", "Version of this process.", ["version"], multiprocess_mode="max")
BUILD_INFO.labels(__version__).set(1)

_sources: frozenset[str] = frozenset()


def declare_sources(names: Iterable[str]) -> None:
    """Close the ``source`` label set over the configured names."""
    global _sources
    _sources = frozenset(names)


def sources() -> frozenset[str]:
    """Return the configured names."""
    return _sources


def source_label(name: str) -> str:
    """Return ``name`` if it is a configured source, else ``other``."""
    return name if name in _sources else "other"


def redis_error_kind(error: BaseException) -> str:
    """Return the ``kind`` label of an error of redis-py: timeout, connection, or response."""
    name = type(error).__name__
    if "Timeout" in name:
        return "timeout"
    return "connection" if isinstance(error, OSError) or "Connection" in name else "response"
