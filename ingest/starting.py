"""What a gate looks at before it takes its first request: are the tiers there, and do they keep what a 202 promises."""

from __future__ import annotations

from redis.exceptions import RedisError

from ingest.tiers import Tiers
from tidegate import postgres
from tidegate.errors import TidegateError, UnreachableError, UsageError
from tidegate.postgres import Pool, schema
from tidegate.settings import PostgresSettings, Settings
from tidegate.stream import UNAVAILABLE, Client, promises, require
from tidegate.telemetry import logs

log = logs.get(__name__)

APPLICATION = "tidegate ingest"
INBOX_CONNECTIONS_MAX = 2
"""One commits, and one asks whether Postgres is back."""


def inbox_pool(settings: Settings) -> Pool | None:
    """Return a closed pool for the inbox; None where there is to be none, and say so, since it is a promise less."""
    if settings.ingest.inbox_rows_max and settings.postgres_url is not None:
        url = settings.require_postgres()
        return postgres.pool(url, _limits(settings), APPLICATION, max_size=INBOX_CONNECTIONS_MAX)
    why = "TIDEGATE_POSTGRES_URL is not set" if settings.ingest.inbox_rows_max else "ingest.inbox_rows_max is 0"
    log.warning("no inbox: while Redis is away events are refused with 503", why=why)
    return None


async def start(settings: Settings, client: Client, tiers: Tiers) -> None:
    """Look at both tiers, and say what is wrong with them.

    A gate whose Redis is away starts where it has an inbox: it must not stay down because of what it is built to survive.
    Raises UnreachableError when no 202 is possible, and UsageError when none ever will be.
    """
    inbox_error = await _inbox_error(settings) if tiers.inboxing is not None else None
    try:
        await require(client, settings.require_redis())
        await _warn(settings, client)
    except UnreachableError as error:
        if tiers.inboxing is None or inbox_error is not None:
            raise
        tiers.fuse.blow(error)
    except UNAVAILABLE as error:  # it answered a moment ago
        tiers.fuse.blow(error)
    except RedisError as error:  # what it refuses to tell is no reason not to use it
        log.warning("Redis does not tell what it is set to", error=str(error)[:300])
    if tiers.inboxing is not None and inbox_error is not None:
        tiers.inboxing.fuse.blow(inbox_error)


async def _inbox_error(settings: Settings) -> TidegateError | None:
    """Return what is wrong with the inbox. The gate works without, and goes on asking for it."""
    try:
        url = settings.require_postgres()
        async with await postgres.connect(url, _limits(settings), APPLICATION) as connection:
            await schema.check(connection)
    except (UnreachableError, UsageError) as error:
        return error
    return None


async def _warn(settings: Settings, client: Client) -> None:
    """Say at once when a 202 promises less than it should: nobody runs `tidegate doctor` before the crash."""
    for what, found, remedy in await promises.look(client, replicas=settings.ingest.wait_replicas):
        if remedy:
            log.warning("a 202 is not as durable as it should be", setting=what, found=found, do=remedy)


def _limits(settings: Settings) -> PostgresSettings:
    return settings.postgres.model_copy(update={"connect_timeout_seconds": settings.ingest.inbox_seconds})
