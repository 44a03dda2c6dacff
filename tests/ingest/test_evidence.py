"""Which secret verified is known to whoever rotates them: through restarts and outages, from all gates together."""

from __future__ import annotations

import asyncio
import gzip
import io
import itertools
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from ingest import adapters, evidence
from ingest.evidence import OWN_AGENT, Evidence, Secret
from tests.consumer.fleet import REPOSITORY
from tests.fixtures import until
from tests.ingest.gates import Clients, Gate
from tests.ingest.running import BODIES, PROVIDERS, SECRETS, Running, running
from tidegate import rotation
from tidegate.cli import posting
from tidegate.embedded import RedisServer
from tidegate.rotation import Standing
from tidegate.settings import Settings
from tidegate.stream import Client, SecretUse, SecretUses, Stream, connect
from tidegate.stream.keys import secret_uses
from tidegate.stream.secret_uses import mark

NEW = "whsec_bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldw=="
OLD = SECRETS["crm"]
BOTH: dict[str, list[Any]] = {"crm": [{"value": NEW, "label": "new"}, {"value": OLD, "label": "old"}]}
DAY = 86_400.0
_numbers = itertools.count()


class Clock:
    """The time of the gate and of who signs for it."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


async def post(
    gate: Running, secret: str, *, source: str = "crm", clock: Callable[[], float] = time.time, packed: bool = False
) -> int:
    """Post an event that nobody has sent yet, signed with ``secret``; return the answer's status."""
    adapter = adapters.build(PROVIDERS[source], [secret])
    url = f"{gate.url}/webhooks/{source}"
    name = f"rotation-{next(_numbers)}"
    headers, body = adapter.sign(BODIES[source], url=url, now_seconds=clock(), message_id=name)
    if packed:
        headers, body = [*headers, ("Content-Encoding", "gzip")], gzip.compress(body)
    status, _, _ = await gate.raw("POST", f"/webhooks/{source}", data=io.BytesIO(body), headers=headers)
    return status


async def known(uses: SecretUses, source: str = "crm") -> dict[str, SecretUse]:
    return {use.label: use for use in (await uses.load()).get(source, [])}


def uses_of(stream: Stream) -> SecretUses:
    return SecretUses(stream.client, stream.keys[0].prefix)


def counted(uses: SecretUses, label: str, count: int) -> Callable[[], Any]:
    async def check() -> bool:
        found = (await known(uses)).get(label)
        return found is not None and found.count == count

    return check


def metric(source: str, label: str) -> float:
    return REGISTRY.get_sample_value("tidegate_secret_uses_total", {"source": source, "secret": label}) or 0.0


async def test_a_rotation_from_the_old_secret_alone_to_the_new_one_alone(stream: Stream) -> None:
    """What a person sees on the way; each step is a gate with new settings, as a rotation is."""
    clock, uses = Clock(), uses_of(stream)

    async def stand(*secrets: str) -> list[Standing]:
        configured: list[tuple[str, str | None]] = [
            ({OLD: "old", NEW: "new"}[secret], mark("crm", secret)) for secret in secrets
        ]
        found = (await uses.load())["crm"]
        return rotation.standings(configured, found, retire_ms=4 * 86_400_000, now_ms=round(clock.seconds * 1000))

    def verdicts(stood: list[Standing]) -> dict[str, str]:
        return {one.label: one.verdict for one in stood}

    async with running(stream, clock=clock, secrets={"crm": [BOTH["crm"][1]]}) as gate:
        for _ in range(20):
            assert await post(gate, OLD, clock=clock) == 202
    assert verdicts(await stand(OLD)) == {"old": "in_use"}
    async with running(stream, clock=clock, secrets=BOTH) as gate:
        clock.seconds += DAY
        assert await post(gate, OLD, clock=clock) == 202
        await until(counted(uses, "old", 21))
        assert verdicts(await stand(NEW, OLD)) == {"new": "no_evidence", "old": "in_use"}
        clock.seconds += DAY
        for _ in range(12):
            assert await post(gate, NEW, clock=clock) == 202
        await until(counted(uses, "new", 12))
        assert verdicts(await stand(NEW, OLD)) == {"new": "in_use", "old": "waiting"}
        clock.seconds += 6 * DAY
        assert await post(gate, NEW, clock=clock) == 202
    stood = await stand(NEW, OLD)
    assert verdicts(stood) == {"new": "in_use", "old": "retire"}
    assert stood[1].use is not None
    assert (stood[1].use.count, stood[1].use.since, stood[1].use.silence_ms) == (21, 13, 86_400_000)
    async with running(stream, clock=clock, secrets={"crm": [BOTH["crm"][0]]}) as gate:
        assert await post(gate, OLD, clock=clock) == 401
        assert await post(gate, NEW, clock=clock) == 202
    assert verdicts(await stand(NEW)) == {"new": "in_use", "old": "removed"}
    assert (await known(uses))["old"].count == 21


@pytest.mark.parametrize("source", ["crm", "lemlist", "hubspot"])
@pytest.mark.parametrize("packed", [False, True])
async def test_it_is_the_secret_that_verified_which_is_counted(stream: Stream, source: str, packed: bool) -> None:
    secrets = {source: [{"value": NEW, "label": "first"}, {"value": SECRETS[source], "label": "second"}]}
    before = metric(source, "second"), metric(source, "first")
    async with running(stream, secrets=secrets) as gate:
        assert await post(gate, SECRETS[source], source=source, packed=packed) == 202
        assert await post(gate, "whsec_Zm9yZ2VkIGZvcmdlZCBmb3JnZWQ=", source=source, packed=packed) == 401
    found = await known(uses_of(stream), source)
    assert {label: use.count for label, use in found.items()} == {"first": 0, "second": 1}
    assert (metric(source, "second") - before[0], metric(source, "first") - before[1]) == (1, 0)


async def test_our_own_tests_are_no_evidence_that_the_provider_signs_with_a_secret(stream: Stream) -> None:
    """Else a test every hour, signed with the new secret, would have the old one retired while it is still needed."""
    settings = Settings()
    async with running(stream, secrets=BOTH) as gate:
        assert await post(gate, OLD) == 202
        await until(counted(uses_of(stream), "old", 1))
        url = f"{gate.url}/webhooks/crm"
        signed = posting.sign(gate.sources["crm"], BODIES["crm"], settings, url=url)
        assert (await posting.post(signed)).accepted
        await until(counted(uses_of(stream), "new", 1))
        assert (await known(uses_of(stream)))["old"].since == 0
        assert await post(gate, NEW) == 202
    found = await known(uses_of(stream))
    assert (found["new"].count, found["old"].since) == (2, 1)


@pytest.mark.parametrize("theirs", [[], [1], [4], [1, 4]])
async def test_the_times_are_of_what_the_provider_sent(stream: Stream, theirs: list[int]) -> None:
    """Whether it is written down at once, or waits and is put together with what comes later."""
    secret = Secret("crm", "new", "0a")
    kept = Evidence(uses_of(stream), [secret])
    for second in range(6):
        secret.verified(1_800_000_000.0 + second, "Provider/1" if second in theirs else f"{OWN_AGENT}1.0")
        if second == 2:
            kept._collect()  # as where Redis took nothing
    await kept.flush()
    found = (await known(uses_of(stream)))["new"]
    seen = [1_800_000_000_000 + second * 1000 for second in theirs]
    assert found.count == 6
    assert (found.first_ms, found.last_ms) == ((seen[0], seen[-1]) if seen else (None, None))


async def test_a_body_that_was_signed_packed_is_counted_too(stream: Stream) -> None:
    adapter = adapters.build("standard-webhooks", [OLD])
    body = gzip.compress(BODIES["crm"])
    async with running(stream, secrets=BOTH) as gate:
        headers, _ = adapter.sign(body, url=gate.url, now_seconds=time.time(), message_id="packed")
        headers = [*headers, ("Content-Encoding", "gzip")]
        status, _, _ = await gate.raw("POST", "/webhooks/crm", data=io.BytesIO(body), headers=headers)
        assert status == 202
    assert (await known(uses_of(stream)))["old"].count == 1


async def test_a_secret_that_nobody_has_used_yet_is_known_soon_after_the_start(stream: Stream) -> None:
    uses = uses_of(stream)
    async with running(stream, secrets=BOTH):

        async def told() -> bool:
            return set(await known(uses)) == {"new", "old"}

        await until(told)
    assert {use.last_ms for use in (await known(uses)).values()} == {None}


async def test_gates_of_one_deployment_add_up_and_none_undoes_what_another_wrote(stream: Stream) -> None:
    uses = uses_of(stream)
    async with AsyncExitStack() as stack:
        gates = [await stack.enter_async_context(running(stream, secrets=BOTH)) for _ in range(3)]
        for number in range(30):
            assert await post(gates[number % 3], OLD if number < 15 else NEW) == 202
        await until(counted(uses, "old", 15))
        await until(counted(uses, "new", 15))
    found = await known(uses)
    assert (found["old"].count, found["new"].count) == (15, 15)
    assert (found["old"].last_ms or 0) < (found["new"].last_ms or 0)


async def test_what_was_noted_last_is_written_when_the_gate_leaves(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "FLUSH_SECONDS", 3600.0)
    async with running(stream, secrets=BOTH) as gate:
        for _ in range(3):
            assert await post(gate, OLD) == 202
    assert (await known(uses_of(stream)))["old"].count == 3


@pytest.mark.parametrize("is_signed", [True, False])
async def test_a_handshake_counts_for_the_secret_that_signed_it(stream: Stream, is_signed: bool) -> None:
    """It may be all that comes of a provider for days; one that nobody signed says nothing of any secret."""
    hello = b'{"type": "url_verification", "challenge": "c-1", "token": "t"}'
    handshake = {"when": {"type": "url_verification"}, "text": "challenge", "signed": is_signed}
    secrets = [{"value": "slack-new", "label": "new"}, {"value": "slack-old", "label": "old"}]
    slack = {"provider": "slack", "secrets": secrets, "options": {"handshakes": [handshake]}}
    async with running(stream, source=slack) as gate:
        signed = adapters.build("slack", ["slack-old"]).sign(
            hello, url=gate.url, now_seconds=time.time(), message_id=""
        )
        for headers, status in ((signed[0], 200), ([("Content-Type", "application/json")], 401 if is_signed else 200)):
            answer, _, _ = await gate.raw("POST", "/webhooks/crm", data=io.BytesIO(hello), headers=headers)
            assert answer == status
    assert {label: use.count for label, use in (await known(uses_of(stream))).items()} == {"new": 0, "old": 1}


class TestRedisAway:
    async def test_what_verified_meanwhile_is_written_when_it_is_back(
        self, own_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(evidence, "AWAY_SECONDS_MAX", 0.5)
        server = own_redis()
        async with connect(server.url, timeout_seconds=1) as client:
            uses = SecretUses(client, "t")
            secrets = [Secret("crm", "new", "0a"), Secret("crm", "old", "0b"), Secret("crm", "idle", "0c")]
            clock = Clock()
            kept = Evidence(uses, secrets, clock)
            task = asyncio.create_task(kept.run())
            try:

                async def all_known() -> bool:
                    return len(await known(uses)) == 3

                await until(all_known)
                secrets[1].verified(clock.seconds)
                await until(counted(uses, "old", 1))
                server.kill()
                for _ in range(5):
                    clock.seconds += 1
                    secrets[1].verified(clock.seconds)
                    secrets[0].verified(clock.seconds, f"{OWN_AGENT}1.0")
                    await kept.flush()
                secrets[0].verified(clock.seconds)
                await asyncio.to_thread(server.start)
                await until(counted(uses, "old", 6))
                await until(counted(uses, "new", 6))
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert (await known(uses))["idle"].since == 7  # less the five that we sent ourselves
            found = (await known(uses))["old"]
            assert found.first_ms == 1_800_000_000_000
            assert found.last_ms == round(clock.seconds * 1000)

    async def test_a_flush_at_the_end_of_a_process_ends_too(self, own_redis: Callable[..., RedisServer]) -> None:
        server = own_redis()
        async with connect(server.url, timeout_seconds=0.2) as client:
            secret = Secret("crm", "old", "0b")
            kept = Evidence(SecretUses(client, "t"), [secret])
            server.kill()
            secret.verified(1.0)
            await kept.flush()


async def test_after_redis_lost_its_data_the_record_begins_anew_with_every_secret(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "HELD_SECONDS", 0.0)
    monkeypatch.setattr(evidence, "FLUSH_SECONDS", 0.05)
    uses, clock = uses_of(stream), Clock()
    async with running(stream, clock=clock, secrets=BOTH) as gate:
        assert await post(gate, OLD, clock=clock) == 202
        await until(counted(uses, "old", 1))
        clock.seconds += DAY
        await stream.client.delete(secret_uses(stream.keys[0].prefix))
        await until(counted(uses, "old", 0))
    found = (await known(uses))["old"]
    assert (found.known_ms, found.last_ms) == (round(clock.seconds * 1000), None)


async def test_one_secret_twice_is_counted_once(client: Client, prefix: str) -> None:
    uses = SecretUses(client, prefix)
    twice = [Secret("crm", "a", "0a"), Secret("crm", "b", "0a")]
    kept = Evidence(uses, twice)
    twice[0].verified(1_800_000_000.0)
    await kept.flush()
    (found,) = (await uses.load())["crm"]
    assert found.count == 1


async def test_a_key_that_somebody_else_uses_harms_no_request_and_is_said_once(
    stream: Stream, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(evidence, "AWAY_SECONDS_MAX", 0.01)
    key = secret_uses(stream.keys[0].prefix)
    await stream.client.set(key, "x")
    async with running(stream, secrets=BOTH) as gate:
        for _ in range(20):
            assert await post(gate, OLD) == 202
        await stream.client.delete(key)
        await until(counted(uses_of(stream), "old", 20))
    said = [record for record in caplog.records if "not written down now" in json.dumps(record.msg, default=str)]
    assert len(said) == 1


async def test_a_minute_in_which_nothing_came_costs_redis_nothing(stream: Stream) -> None:
    """Only what is new is written, and once a minute which secrets there are."""
    kept = Evidence(uses_of(stream), [Secret("crm", "old", "0a")])
    await kept.flush()
    await stream.client.delete(secret_uses(stream.keys[0].prefix))
    await kept.flush()
    assert not await stream.client.exists(secret_uses(stream.keys[0].prefix))


@pytest.mark.process
async def test_a_gate_of_several_processes_and_its_reload_lose_no_use(
    tmp_path: Path, redis_url: str, stream: Stream, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation is a reload in the middle of traffic: what the old processes counted is on record when they are gone."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    gate = Gate(tmp_path, redis_url=redis_url, prefix=prefix, workers=2)
    process = await gate.started()
    try:
        clients = Clients(gate)
        async with clients.posting():
            await clients.more()
            (tmp_path / "tidegate.toml").write_text(
                gate.config.read_text().replace(f'"{OLD}"', f'{{ value = "{NEW}", label = "new" }}, "{OLD}"')
            )
            os.kill(process.pid, signal.SIGHUP)
            await until(lambda: gate.says("a gate process serves", times=4))
            await clients.more()
            shown = await gate.metrics()
        assert 'tidegate_secret_uses_total{secret="new",source="crm"} 0.0' in shown
    finally:
        await asyncio.to_thread(process.stop)
    found = await known(uses_of(stream))
    assert clients.answers == {202: clients.taken}
    assert {label: use.count for label, use in found.items()} == {"new": 0, "secret 2": clients.taken}
