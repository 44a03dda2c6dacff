"""Free TCP ports on the loopback address."""

from __future__ import annotations

import random
import socket

# Below the range that Linux (32768) and macOS (49152) give to outgoing connections: a port from that range
# may be somebody's outgoing connection by the time a killed server wants it back.
_FIRST, _LAST = 20_000, 32_000
_TRIES_MAX = 200


def free_port() -> int:
    """A port that nothing on 127.0.0.1 listens on now. It may be taken before it is used: then ask again."""
    for _ in range(_TRIES_MAX):
        port = random.randint(_FIRST, _LAST)
        if is_free(port):
            return port
    raise OSError(f"{_TRIES_MAX} ports between {_FIRST} and {_LAST} were tried and none is free")


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As Redis and PostgreSQL do: connections of a killed server that linger in the kernel must not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True
