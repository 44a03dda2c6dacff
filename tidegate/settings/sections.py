"""The sections of tidegate.toml, save for `ingest`, `sources` and `retry`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tidegate.settings.base import Count, Seconds, Section


class StreamSettings(Section):
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")] = "tg"
    """First part of every Redis key: two deployments may share a Redis."""
    shards: Annotated[int, Field(ge=1, le=256)] = 1
    """Streams to spread over. Changing it while events wait strands them: drain first."""
    backlog_max: Annotated[int, Field(ge=0)] = 1_000_000
    """Entries waiting on one shard, retries included, above which the gate answers 503. 0: no limit, Redis' memory is."""
    seen_seconds: Annotated[int, Field(ge=2)] = 86_400
    """How long the gate remembers an event (at least half of this), at about 64 bytes each in Redis. Longer: fewer duplicates
    travel to Postgres, which knows them anyway."""
    timeout_seconds: Seconds = 5.0
    """Limit of one call to Redis, and of repeating one whose answer was lost."""


class PostgresSettings(Section):
    pool_max: Count = 8
    """Connections of one process. A worker needs its concurrency plus two."""
    connect_timeout_seconds: Seconds = 5.0
    statement_timeout_ms: Annotated[int, Field(ge=1)] = 30_000
    lock_timeout_ms: Annotated[int, Field(ge=1)] = 10_000
    idle_in_transaction_timeout_ms: Annotated[int, Field(ge=1)] = 60_000
    """Above this Postgres ends a transaction whose worker hangs, so that its locks do not."""
    transaction_timeout_ms: Annotated[int, Field(ge=1)] = 120_000
    """A transaction of a batch that takes longer is cut off and repeated: the network to Postgres may have gone silent."""


class ConsumerSettings(Section):
    handlers: str | None = None
    """MODULE:HANDLERS; None: the built-in engagement read model."""
    batch: Annotated[int, Field(ge=1, le=5000)] = 500
    """Deliveries in one transaction, at most."""
    batch_bytes: Annotated[int, Field(ge=1024)] = 4_194_304
    """Bytes of them, at most; a single larger delivery is a batch of its own. A process holds several times this."""
    batch_target_seconds: Seconds = 2.0
    """Batches shrink until a transaction takes no longer than this, and grow again up to ``batch``."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 2
    """Batches in work at once."""
    prefetch: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Deliveries read ahead of the batches. More: fewer reads; but other workers cannot have what waits here."""
    held_bytes: Annotated[int, Field(ge=1024)] = 16_777_216
    """Bytes of deliveries in a worker's hands, in work and read ahead; above it nothing more is read."""
    linger_ms: Annotated[int, Field(ge=0, le=10_000)] = 5
    """How long a small batch waits to fill while another is in work; with none in work, never. 0: never."""
    block_ms: Annotated[int, Field(ge=10, le=60_000)] = 1000
    """How long a read waits for a first entry."""
    lease_seconds: Seconds = 15.0
    """An entry nobody renewed for this long is taken over by another worker."""
    deliveries_max: Annotated[int, Field(ge=2, le=100)] = 3
    """From which delivery on an entry that dead workers held is tried alone; if that kills two more, it is a letter, reason
    `crash_loop`."""
    event_seconds: Seconds = 20.0
    """How long a handler may take for one event; above it the attempt has failed. Keep it above postgres.lock_timeout_ms."""
    batch_seconds: Seconds = 25.0
    """How long the handlers of one transaction may take; above it the batch is halved."""
    hang_seconds: Seconds = 30.0
    """A handler that blocks the whole process, or will not be stopped, for this long ends it: others take over."""
    memory_bytes_max: Annotated[int, Field(ge=0)] = 4_294_967_296
    """Memory of the process above which a handler gets MemoryError, which costs its event an attempt, instead of the kernel
    choosing whom to kill. 0: no limit. Linux only."""
    breaker_failures: Count = 3
    """So many failures of Postgres in a row pause this worker until a probe succeeds; wrong schema or rights do at once."""
    breaker_seconds_max: Seconds = 5.0
    """The longest wait between two probes; the first waits a second."""
    drain_seconds: Seconds = 30.0
    """How long a stopping worker may finish its batches before it hands them back."""
    handback_seconds: Seconds = 5.0
    """How long a stopping worker may take to hand back what it did not finish; what it cannot is taken over later."""
    drain_limit_seconds: Seconds = 7200.0
    """How long `consume --drain` goes on before it gives up; longer than the default retry schedule, which it waits for."""
    reconnect_seconds: Seconds = 300.0
    """A worker that lost Redis or Postgres for this long exits with code 3."""
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9464


class ConsoleSettings(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8081


class HubSpotMapping(Section):
    properties: dict[str, str] = Field(
        default_factory=lambda: {
            "hs_email_last_send_date": "sent",
            "hs_email_last_open_date": "opened",
            "hs_email_last_click_date": "clicked",
            "hs_sales_email_last_opened": "opened",
            "hs_sales_email_last_clicked": "clicked",
            "hs_sales_email_last_replied": "replied",
            "hs_email_bounce": "bounced",
            "hs_email_optout": "unsubscribed",
        }
    )
    """Contact property whose change stands for an action -> that action."""
    workflow: dict[str, str] = Field(
        default_factory=lambda: {
            name: name for name in ("sent", "opened", "clicked", "replied", "bounced", "unsubscribed", "failed")
        }
    )
    """Type of a workflow webhook (after `workflow.`) -> action."""
    workflow_contact: str = "contactId"
    """Path of the contact's id in a workflow webhook's body."""
    workflow_enrollment: str = "enrollmentId"
    """Path of our own enrollment's id in it, where the workflow names one."""


class EngagementSettings(Section):
    hubspot: HubSpotMapping = Field(default_factory=HubSpotMapping)
