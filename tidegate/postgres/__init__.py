"""Postgres: connections with limits, the meaning of its errors, the schema."""

from tidegate.postgres.deadline import Connection
from tidegate.postgres.pool import Pool, borrowed, connect, pool
from tidegate.postgres.sqlstate import Kind, classify

__all__ = ["Connection", "Kind", "Pool", "borrowed", "classify", "connect", "pool"]
