"""The parts of a worker, put together as the settings say."""

from __future__ import annotations

from collections.abc import Iterable

from consumer.apply import Applier
from consumer.breaker import Breaker, State
from consumer.committing import Committer
from consumer.intake import Intake
from consumer.outage import Outage
from consumer.pace import Pace
from consumer.pausing import Pausing
from consumer.policy import Policy
from consumer.settling import Settler
from consumer.worker import Worker
from tidegate.handlers import Handlers
from tidegate.postgres import Pool
from tidegate.settings import ConsumerSettings
from tidegate.stream import Client, Pauses, PauseView, Stream


def assemble(
    stream: Stream,
    reader: Client,
    pool: Pool,
    handlers: Handlers,
    policy: Policy,
    consumer: str,
    options: ConsumerSettings,
    *,
    transaction_seconds: float,
    sources: Iterable[str] = (),
) -> Worker:
    """Return a worker that reads as ``consumer`` on ``reader``, a client of its own. ``sources`` are those configured."""
    pace = Pace(options.batch, options.batch_target_seconds)
    breaker = Breaker(
        Outage("Postgres", options.reconnect_seconds),
        failures_max=options.breaker_failures,
        open_seconds_max=options.breaker_seconds_max,
    )
    pausing = Pausing(stream, PauseView(Pauses(stream.client, stream.keys[0].prefix)), sources)
    applier = Applier(handlers, policy, event_seconds=options.event_seconds)
    return Worker(
        Intake(stream, reader, consumer, pace, options, paused=lambda: breaker.state is not State.CLOSED),
        Committer(pool, applier, breaker, pace, transaction_seconds=transaction_seconds, held=lambda: pausing.held),
        Settler(stream, pool, handlers),
        pausing,
        options,
    )
