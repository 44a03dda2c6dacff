"""The parts of a worker, put together as the settings say."""

from __future__ import annotations

from consumer.apply import Applier
from consumer.breaker import Breaker, State
from consumer.committing import Committer
from consumer.intake import Intake
from consumer.outage import Outage
from consumer.pace import Pace
from consumer.policy import Policy
from consumer.settling import Settler
from consumer.worker import Worker
from tidegate.handlers import Handlers
from tidegate.postgres import Pool
from tidegate.settings import ConsumerSettings
from tidegate.stream import Client, Stream


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
) -> Worker:
    """Return a worker that reads as ``consumer`` on ``reader``, a client of its own."""
    pace = Pace(options.batch, options.batch_target_seconds)
    breaker = Breaker(
        Outage("Postgres", options.reconnect_seconds),
        failures_max=options.breaker_failures,
        open_seconds_max=options.breaker_seconds_max,
    )
    applier = Applier(handlers, policy, event_seconds=options.event_seconds)
    return Worker(
        Intake(stream, reader, consumer, pace, options, paused=lambda: breaker.state is not State.CLOSED),
        Committer(pool, applier, breaker, pace, transaction_seconds=transaction_seconds),
        Settler(stream, pool, handlers),
        options,
    )
