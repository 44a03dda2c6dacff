"""A process for test_embedded to kill: starts both servers in the folder given, says so, and waits.

Prints one line of JSON: {"redis": {"pid": int, "url": str}, "postgres": {...}}. Ends, stopping both, at the end of its
standard input.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tidegate.embedded import PostgresServer, RedisServer, start_together


def main() -> None:
    folder, redis_binary, postgres_binary = (Path(argument) for argument in sys.argv[1:])
    servers = {
        "redis": RedisServer(folder / "redis", binary=redis_binary),
        "postgres": PostgresServer(folder / "postgres", binary=postgres_binary, durable=False),
    }
    start_together(*servers.values())
    print(json.dumps({name: {"pid": each.pid, "url": each.url} for name, each in servers.items()}), flush=True)
    sys.stdin.read()
    for each in servers.values():
        each.stop()


if __name__ == "__main__":
    main()
