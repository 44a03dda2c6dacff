"""HTTP -> Redis -> workers -> Postgres with real processes: what a sender knows is what `campaign_metrics` says."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.fixtures import Rig, until
from tidegate.cli import traffic
from tidegate.cli.demo_sources import DemoSources
from tidegate.cli.sender import Sender
from tidegate.cli.stack import Stack
from tidegate.cli.traffic import Post

pytestmark = pytest.mark.process

SETTINGS = """\
[stream]
prefix = "{prefix}"

[consumer]
lease_seconds = 3

[retry]
delays_seconds = [0.2, 0.5, 1, 2, 4, 8, 8, 8, 8]
jitter_ms = 100

"""


@pytest.fixture
def stack(tmp_path: Path, redis_url: str, postgres_url: str, prefix: str) -> Stack:
    """Gate and two workers over the test's servers; not started yet."""
    sources = DemoSources()
    return Stack(
        tmp_path / "stack",
        settings_text=lambda url: SETTINGS.replace("{prefix}", prefix) + sources.toml(url),
        redis_url=redis_url,
        postgres_url=postgres_url,
        python=[sys.executable, "-m", "tidegate"],
        console_port=None,
    )


async def test_20000_events_with_a_worker_killed_are_counted_exactly(stack: Stack, rig: Rig) -> None:
    """10 % duplicates, 10 % orphans, shuffled, two workers, one SIGKILL while it holds events."""
    made = traffic.make(20_000, seed=1, poison=4, forged=20)
    rig.stream.keys[1:] = []  # the processes run with one shard
    with stack:
        sender = Sender(stack.gate_url, stack.settings)
        await sender.send(made.opening)
        third = len(made.posts) // 3
        await sender.send(made.posts[:third])
        sending = asyncio.create_task(sender.send(made.posts[third:]))
        await _kill_while_it_holds_events(stack, rig)
        await sending

        async def settled() -> bool:
            state = await rig.stream.audit(0)
            return not state.events + state.retry

        await until(settled, seconds=60)
        printed = subprocess.run(
            [sys.executable, "-m", "tidegate", "-c", str(stack.config), "audit", "--json"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert printed.returncode == 0, printed.stderr
    ledger = json.loads(printed.stdout)
    assert ledger["unaccounted"] == 0
    assert ledger["accepted"] == sender.accepted == made.distinct
    assert sender.accepted + sender.duplicates == made.sent
    assert (sender.answers[401], set(sender.answers)) == (made.forged, {202, 401})
    assert (ledger["applied"] + ledger["ignored"], ledger["dead"]) == (made.distinct - made.poison, made.poison)
    rows = await rig.rows("SELECT campaign_id, event_type, count FROM campaign_metrics")
    assert Counter({(row[0], row[1]): row[2] for row in rows}) == made.metrics
    reasons = Counter(row[0] for row in await rig.rows("SELECT reason FROM dead_letters"))
    assert reasons == {"invalid": 2, "malformed": 2}
    stored = await rig.rows("SELECT count(*) FROM events WHERE payload::text LIKE '%%whk_%%'")
    assert stored == [(0,)], "Lemlist's secret was stored"


async def _kill_while_it_holds_events(stack: Stack, rig: Rig) -> None:
    victim = stack.workers[0]

    async def stopped_holding_some() -> bool:
        """Stopped between two reads it would never be given any: then it is woken, and stopped again."""
        victim.signal(signal.SIGSTOP)
        consumers = await rig.stream.consumers(0)
        if any(item["pending"] for item in consumers if f"-{victim.pid}-" in item["name"].decode()):
            return True
        victim.signal(signal.SIGCONT)
        return False

    await until(stopped_holding_some)
    victim.signal(signal.SIGKILL)


async def test_a_stack_leaves_no_process_behind(stack: Stack) -> None:
    with stack:
        processes = [stack.gate, *stack.workers]
    assert not any(process.alive for process in processes)


async def test_sigterm_finishes_hands_back_and_exits_0(stack: Stack, rig: Rig) -> None:
    made = traffic.make(500, seed=2)
    rig.stream.keys[1:] = []
    with stack:
        sender = Sender(stack.gate_url, stack.settings)
        await sender.send(made.opening)
        sending = asyncio.create_task(sender.send(made.posts))
        leaving = stack.workers[0]
        leaving.signal(signal.SIGTERM)

        async def gone() -> bool:
            return not leaving.alive

        await until(gone)
        await sending

        async def settled() -> bool:
            state = await rig.stream.audit(0)
            return not state.events + state.retry

        await until(settled, seconds=60)
        assert "Traceback" not in leaving.log.read_text()
        assert leaving.exit_code == 0
        names = [item["name"].decode() for item in await rig.stream.consumers(0)]
        assert not [name for name in names if f"-{leaving.pid}-" in name], "its consumer was not retired"
    rows = await rig.rows("SELECT campaign_id, event_type, count FROM campaign_metrics")
    assert Counter({(row[0], row[1]): row[2] for row in rows}) == made.metrics


async def test_hostile_payloads_each_have_an_end_and_never_stop_the_events_beside_them(stack: Stack, rig: Rig) -> None:
    """Through HTTP to the end: applied, a letter, or a 4xx; and every plain event sent in between is applied."""
    rig.stream.keys[1:] = []

    def lemlist(name: str, text: bytes) -> Post:
        body = b'{"_id": "%s", "type": "emailsOpened", "createdAt": "2026-01-01T00:00:00Z", "x": %s}' % (
            name.encode(),
            text,
        )
        return Post("lemlist", body, name)

    element = {"portalId": 1, "objectId": 2, "occurredAt": 3, "subscriptionType": "contact.creation"}
    array = [{**element, "eventId": number} for number in range(100)]
    del array[40]["eventId"]
    hostile = [
        (lemlist("nul", rb'"\u0000"'), 202),
        (lemlist("surrogate", rb'"\ud800"'), 202),
        (lemlist("mebibyte", b'"' + b"a" * 1_048_576 + b'"'), 202),
        (lemlist("digits", b"9" * 10_000), 202),
        (lemlist("deep", b"[" * 200 + b"]" * 200), 202),
        (Post("crm", b"[" * 100_000 + b"]" * 100_000, "abyss"), 400),
        (Post("crm", b'{"type": "x", "data": NaN}', "nan"), 400),
        (lemlist("huge", b'"' + b"a" * 3_000_000 + b'"'), 413),
        (Post("hubspot", b"[]", "empty"), 202),
        (Post("hubspot", json.dumps(array).encode(), "array"), 202),
        (Post("hubspot", b'[{"eventId": "\xff"}]', "latin"), 400),
        (Post("crm", b"[]", "list"), 400),
    ]
    with stack:
        for number, (post, status) in enumerate(hostile):
            sender = Sender(stack.gate_url, stack.settings)
            await sender.send([post])
            assert sender.answers == {status: 1}, post.message_id
            await sender.send([lemlist(f"plain-{number}", b"1")])
            assert sender.answers[202] == 1 + (status == 202)

        async def settled() -> bool:
            state = await rig.stream.audit(0)
            return not state.events + state.retry

        await until(settled)
    stored = {row[0] for row in await rig.rows("SELECT provider_event_id FROM events WHERE source = 'lemlist'")}
    assert stored == {"mebibyte", "digits", "deep", *(f"plain-{number}" for number in range(len(hostile)))}
    assert await rig.rows("SELECT count(*) FROM events WHERE source = 'hubspot'") == [(99,)]
    rows = await rig.rows("SELECT reason, array_agg(provider_event_id ORDER BY 1) FROM dead_letters GROUP BY 1")
    letters = {str(reason): list(names) for reason, names in rows}
    assert letters["invalid"] == ["nul", "surrogate"]
    assert len(letters["malformed"]) == 1
    assert (await rig.rows("SELECT length((payload ->> 'x')) FROM events WHERE provider_event_id = 'digits'")) == [
        (10_000,)
    ]
