"""A Redis and a PostgreSQL of our own, without Docker or root: for `tidegate up`, the demo and the tests.

    with RedisServer(folder / "redis") as redis, PostgresServer(folder / "postgres") as postgres:
        ...  # redis.url, postgres.url

Both keep their data in their folder, listen on 127.0.0.1 alone, ask for a password that lies in the folder,
and end when the process that started them ends, however it ends. They are meant for one machine and one
person; production brings servers of its own by TIDEGATE_REDIS_URL and TIDEGATE_POSTGRES_URL.
"""

from __future__ import annotations

from tidegate.embedded.postgres import PostgresServer
from tidegate.embedded.redis import RedisServer
from tidegate.embedded.server import Server, start_together

__all__ = ["PostgresServer", "RedisServer", "Server", "start_together"]
