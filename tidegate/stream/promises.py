"""What Redis is really set to, and which promise of a 202 that breaks."""

from __future__ import annotations

from typing import NamedTuple

from redis.exceptions import RedisError

from tidegate.stream.client import UNAVAILABLE, Client


class Promise(NamedTuple):
    """One thing looked at: what it is set to, and what to do when that breaks the promise (empty when it does not)."""

    what: str
    found: str
    remedy: str = ""


_SETTINGS = (
    ("appendonly", "yes", "CONFIG SET appendonly yes: without it a restart of Redis loses what waits"),
    ("appendfsync", "always", "CONFIG SET appendfsync always: without it a crash loses up to a second of 202s"),
    ("maxmemory-policy", "noeviction", "CONFIG SET maxmemory-policy noeviction: any other may delete a stream"),
)


async def look(client: Client, *, replicas: int = 0) -> list[Promise]:
    """Return what a 202 rests on, with ``replicas`` that each append waits for. Raises UNAVAILABLE when nobody answers."""
    found: list[Promise] = []
    try:
        found.append(Promise("redis version", str((await client.info("server"))["redis_version"])))
        config = await client.config_get("append*", "maxmemory*")
    except UNAVAILABLE:
        raise
    except RedisError as error:
        hint = "ask whoever runs it whether appendonly, appendfsync always and noeviction are set"
        return [*found, Promise("redis configuration", f"not readable: {error}", hint)]
    for name, good, remedy in _SETTINGS:
        value = str(config.get(name, "?"))
        found.append(Promise(f"redis {name}", value, "" if value == good else remedy))
    limit = int(str(config.get("maxmemory", 0)))
    found.append(Promise("redis maxmemory", f"{limit:,} bytes" if limit else "none"))
    if replicas:
        there = int(str((await client.info("replication")).get("connected_slaves", 0)))
        remedy = f"ingest.wait_replicas is {replicas}: until so many replicas follow, events go to the inbox"
        found.append(Promise("redis replicas", str(there), "" if there >= replicas else remedy))
    return found
