"""How we talk to Redis: what a client library or a careless command would lose."""

from __future__ import annotations

import asyncio
import re
from importlib import resources
from pathlib import Path

import pytest

from consumer import upkeep
from tests.consumer.scene import is_reading
from tests.fixtures import Rig, event, until
from tidegate.stream import Stream, connect


async def test_a_read_that_waits_longer_than_the_socket_may_is_no_error(stream: Stream, redis_url: str) -> None:
    """Pitfall 2: with BLOCK at or above the socket's time-out every idle read would fail."""
    await stream.ensure_group(0)
    await stream.ensure_group(1)
    reader = connect(redis_url, timeout_seconds=0.2, block_seconds=0.5)
    assert await stream.read(reader, "w1", count=1, block_ms=500) == []
    await reader.aclose()


def test_no_script_trims_a_stream() -> None:
    """Pitfall 7: a stream with a maximum length throws away what nobody has read. The gate refuses instead.

    Only the record of refused requests has one, and no script touches that: `tidegate/stream/rejected.py`.
    """
    scripts = [
        path for path in resources.files("tidegate.stream").joinpath("lua").iterdir() if path.name[-4:] == ".lua"
    ]
    assert len(scripts) >= 10
    for path in scripts:
        text = path.read_text(encoding="utf-8").upper()
        assert "XTRIM" not in text, path
        assert "MAXLEN" not in text, path
    package = Path(str(resources.files("tidegate.stream")))
    capped = {path.name for path in package.glob("*.py") if re.search(r"maxlen=|\.xtrim\(|MAXLEN", path.read_text())}
    assert capped == {"rejected.py"}


async def test_a_consumer_taken_for_dead_while_it_waits_loses_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pitfall 11: on some versions a consumer's idle time grows while it is alive and waits for work."""
    worker = rig.worker("w1", block_ms=20_000)
    await worker.intake.make_groups()
    running = asyncio.create_task(worker.run())
    await until(lambda: is_reading(rig))
    other = rig.upkeep(rig.worker("w2"))
    monkeypatch.setattr(upkeep, "GONE_IDLE_MS", 0)
    await other.retire()
    await rig.send(event("a"))

    async def ignored() -> bool:
        return (await rig.audit()).balance.ignored == 1

    await until(ignored)
    worker.stop()
    await running
