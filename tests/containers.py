"""Redis and PostgreSQL in containers, where a Docker engine answers."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import redis

REDIS_IMAGE = "redis:8"
POSTGRES_IMAGE = "postgres:18"

_PASSWORD = "tidegate"
_ANSWER_SECONDS = 2
_PULL_SECONDS = 120
_READY_SECONDS = 60.0
_POLL_SECONDS = 0.05


def obstacle() -> str:
    """Why containers cannot be used here, in a few words; empty when they can. Fetches missing images."""
    with _quiet():
        from testcontainers.core.docker_client import DockerClient

        found = ""
        try:
            DockerClient(timeout=_ANSWER_SECONDS).client.ping()
            found = "Docker answers, but its images cannot be had"
            images = DockerClient(timeout=_PULL_SECONDS).client.images
            present = {tag for image in images.list() for tag in image.tags}
            for name in {REDIS_IMAGE, POSTGRES_IMAGE} - present:
                images.pull(name)
        except Exception:  # each cause, wrapped by the library or not, means the same to us
            return found or "no Docker engine answers"
        finally:
            gc.collect()  # the client leaves its sockets to the collector, which must not warn in the midst of a test
    return ""


@contextmanager
def redis_container() -> Iterator[str]:
    """The URL of a Redis set as production needs it."""
    command = "redis-server --appendonly yes --appendfsync always --maxmemory-policy noeviction"
    with _container(REDIS_IMAGE, command, 6379, {}) as address:
        url = f"redis://{address}/0"
        _wait_until(lambda: _redis_answers(url), url)
        yield url


@contextmanager
def postgres_container() -> Iterator[str]:
    """The URL of a PostgreSQL whose user may do everything."""
    variables = {"POSTGRES_USER": "tidegate", "POSTGRES_DB": "tidegate", "POSTGRES_PASSWORD": _PASSWORD}
    with _container(POSTGRES_IMAGE, "postgres -c max_connections=200 -c fsync=off", 5432, variables) as address:
        url = f"postgresql://tidegate:{_PASSWORD}@{address}/tidegate"
        _wait_until(lambda: _postgres_answers(url), url)
        yield url


@contextmanager
def _container(image: str, command: str, port: int, variables: dict[str, str]) -> Iterator[str]:
    with _quiet():
        # The general container and not the ready-made ones: those have moved between modules from release to
        # release.
        from testcontainers.core.container import DockerContainer

        container: Any = DockerContainer(image).with_command(command).with_exposed_ports(port)
        for name, value in variables.items():
            container = container.with_env(name, value)
        container.start()
    try:
        yield f"{container.get_container_host_ip()}:{container.get_exposed_port(port)}"
    finally:
        container.stop()


@contextmanager
def _quiet() -> Iterator[None]:
    """testcontainers deprecates parts of itself and leaves sockets open; with us warnings are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", ResourceWarning)
        yield


def _redis_answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=2.0) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _postgres_answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _wait_until(condition: Callable[[], bool], url: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{url} does not answer after {_READY_SECONDS:g} seconds")
        time.sleep(_POLL_SECONDS)
