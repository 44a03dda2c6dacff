"""Metrics of several processes as one: each writes to files of its own in a shared folder, and whoever is asked adds them up.

The files are named by slot and not by process id: a process that takes the slot of a dead one counts on from where that stopped.
So counters never go backwards, and the folder does not grow with each restart.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_NOBODY = "supervisor"

_slot: int | str = _NOBODY
_folder: Path | None = None


def share(folder: Path) -> None:
    """Keep this process's metrics, and those of its forks, in ``folder``, which is empty. Before any metric is declared."""
    global _folder
    if "prometheus_client" in sys.modules:
        raise RuntimeError(
            "prometheus_client was imported before its metrics were to be shared: they would stay private"
        )
    os.environ[_VARIABLE] = str(folder)
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue(lambda: _slot)  # type: ignore[no-untyped-call]
    _folder = folder


def become(slot: int) -> None:
    """This process, just forked, is ``slot`` from now on. No other living one may be."""
    global _slot
    _slot = slot


def forget(slot: int) -> None:
    """Whoever was ``slot`` is dead: what it measured last is no longer so. What it counted stays."""
    if _folder is not None:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(slot, str(_folder))  # type: ignore[no-untyped-call]


def exposition() -> bytes:
    """Return the metrics of all processes that share them with this one, in Prometheus' text format."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    if _folder is None:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(_folder))  # type: ignore[no-untyped-call]
    return generate_latest(registry)
