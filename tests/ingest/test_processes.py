"""A gate of several processes: whatever becomes of them, nobody who reached it is left without an answer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil  # type: ignore[import-untyped]
import pytest
from prometheus_client import Gauge as PrometheusGauge

from tests.consumer.fleet import REPOSITORY
from tests.fixtures import until
from tests.ingest.gates import Clients, Gate, raw
from tidegate.embedded import RedisServer
from tidegate.serving import listen
from tidegate.stream import Stream
from tidegate.telemetry import metrics

pytestmark = pytest.mark.process

OTHER = """[sources.shop]
provider = "standard-webhooks"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
"""
NO_NOTICE = "[ingest]\nnotice_seconds = 0\n"

Make = Callable[..., Gate]


@pytest.fixture
def make(tmp_path: Path, redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made: list[Gate] = []

    def build(**options: Any) -> Gate:
        made.append(Gate(tmp_path, **{"redis_url": redis_url, "prefix": prefix, **options}))
        return made[-1]

    yield build
    for gate in made:
        if hasattr(gate, "process"):
            gate.process.stop()


@pytest.fixture
async def gate(make: Make) -> Gate:
    made = make()
    await made.started()
    return made


async def on_stream(stream: Stream) -> int:
    states = [await stream.audit(shard) for shard in range(2)]
    return sum(state.events for state in states)


def gone(process: Any) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return not process.alive

    return check


async def ask(gate: Gate, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"{gate.url}{path}") as answer:
        return answer.status, await answer.text()


async def test_no_client_notices_anything_of_three_restarts(gate: Gate, stream: Stream) -> None:
    clients = Clients(gate)
    async with clients.posting(), clients.posting(kept=True):
        for _ in range(3):
            old = gate.children()
            await clients.more()
            gate.process.signal(signal.SIGHUP)

            async def replaced(old: set[int] = old) -> bool:
                now = gate.children()
                return len(now) == 2 and not now & old

            await until(replaced)
        await clients.more()
    assert set(clients.answers) == {202}
    assert await on_stream(stream) == clients.taken
    assert await gate.counted() == clients.taken, "what processes counted that have left is part of the sum"


async def test_a_process_that_is_killed_is_replaced_and_the_others_go_on(gate: Gate, stream: Stream) -> None:
    clients, counts = Clients(gate), [0]
    (killed, other) = sorted(gate.children())
    async with clients.posting():
        await clients.more()
        os.kill(killed, signal.SIGKILL)

        async def two_again() -> bool:
            counts.append(await gate.counted())
            return len(gate.children()) == 2 and killed not in gate.children()

        await until(two_again)
        await clients.more()
    assert other in gate.children()
    assert "refused" not in clients.answers
    unanswered = clients.answers.total() - clients.taken
    assert unanswered <= 4, "more than was in the hands of the one that died"
    assert counts == sorted(counts), "a counter went backwards"
    # An answer may be lost after the event was taken, and a process may die between answering and counting.
    assert clients.taken <= await on_stream(stream) <= clients.taken + unanswered
    assert clients.taken - 4 <= await gate.counted() <= clients.taken + unanswered
    (line,) = [json.loads(line) for line in gate.log().splitlines() if "a gate process died" in line]
    assert (line["process"], line["exit"]) == (killed, "signal SIGKILL")


async def test_sighup_takes_new_settings_and_leaves_the_old_ones_when_they_are_no_good(gate: Gate) -> None:
    assert (await ask(gate, "/webhooks/shop"))[0] == 404
    gate.configure(OTHER + "[ingest]\nworkers = 1\n")  # the command line says 2, and wins
    old = gate.children()
    gate.process.signal(signal.SIGHUP)

    async def taken() -> bool:
        return not gate.children() & old and (await ask(gate, "/webhooks/shop"))[0] == 405

    await until(taken)
    mended = gate.children()
    assert len(mended) == 2

    gate.config.write_text(gate.config.read_text() + "[ingest\n")
    gate.process.signal(signal.SIGHUP)
    await until(lambda: gate.says("the new settings are wrong"))
    with listen("127.0.0.1", 0) as nobody:
        dead = f"redis://127.0.0.1:{nobody.getsockname()[1]}"
    gate.configure(OTHER, redis_url=dead)
    gate.process.signal(signal.SIGHUP)
    await until(lambda: gate.says("the new settings do not work"))
    assert gate.children() == mended
    assert (await ask(gate, "/readyz"))[0] == 200
    errors = [json.loads(line) for line in gate.log().splitlines() if '"level": "error"' in line]
    assert ["not TOML" in errors[0]["error"], dead in errors[1]["error"], len(errors)] == [True, True, 2]
    assert "Traceback" not in gate.log()


@pytest.mark.parametrize("workers", [1, 2])
async def test_who_reached_a_gate_that_stops_is_answered(make: Make, stream: Stream, workers: int) -> None:
    """Refused connections are fine: nothing was sent. A reset one is not: a request may have been lost with it."""
    gate = make(workers=workers, toml="[ingest]\nnotice_seconds = 3\n")
    process = await asyncio.to_thread(gate.start)
    clients, seen = Clients(gate), []
    async with clients.posting(clients=8), clients.posting(clients=4, kept=True):
        await clients.more()
        closed = clients.closed
        process.signal(signal.SIGTERM)

        async def unready() -> bool:
            seen.append(await ask(gate, "/readyz"))
            return seen[-1][0] == 503

        await until(unready)
        await clients.more()  # for some seconds after that it goes on
        assert clients.closed > closed
        await until(gone(process))
    assert json.loads(seen[-1][1])["gate"] == "stopping"
    assert set(clients.answers) == {202, "refused"}
    assert await on_stream(stream) == clients.taken
    assert process.exit_code == 0
    assert not list(gate.config.parent.glob("tidegate-metrics-*"))


async def test_a_second_signal_skips_the_notice(make: Make) -> None:
    gate = make(toml="[ingest]\nnotice_seconds = 600\n")
    process = await gate.started()
    for child in gate.children():
        os.kill(child, signal.SIGTERM)  # a service manager signals all of them at once: that is no second one
    await until(lambda: gate.says("gate leaves", times=2))
    process.signal(signal.SIGTERM)
    await until(lambda: gate.says("supervisor stops"))
    for _ in range(50):
        assert (await ask(gate, "/readyz"))[0] == 503
    process.signal(signal.SIGTERM)
    await until(gone(process))
    assert process.exit_code == 0


async def test_who_connected_before_a_lone_gate_was_told_to_stop_is_answered(make: Make, stream: Stream) -> None:
    """Closing a listening socket resets what waits in its queue: a client that has sent its event would not know."""
    gate = make(workers=1, toml=NO_NOTICE)
    process = await asyncio.to_thread(gate.start)
    process.signal(signal.SIGSTOP)
    waiting = [await asyncio.open_connection("127.0.0.1", gate.port) for _ in range(20)]
    for _, writer in waiting[:10]:
        writer.write(raw())
    process.signal(signal.SIGTERM)
    process.signal(signal.SIGCONT)
    await until(lambda: gate.says("gate leaves"))
    for _, writer in waiting[10:]:
        writer.write(raw())
    for reader, writer in waiting:
        assert (await reader.read()).startswith(b"HTTP/1.1 202")
        writer.close()
    await until(gone(process))
    assert process.exit_code == 0
    assert await on_stream(stream) == 20


async def test_a_request_under_way_is_finished_and_a_silent_connection_holds_nothing_up(make: Make) -> None:
    gate = make(workers=1, toml=NO_NOTICE)
    process = await asyncio.to_thread(gate.start)
    request = raw()
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    _, silent = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(request[:-10])
    process.signal(signal.SIGHUP)  # a lone process has nobody to take over
    await until(lambda: gate.says("gate leaves"))

    async def refused() -> bool:
        try:
            _, other = await asyncio.open_connection("127.0.0.1", gate.port)
        except ConnectionRefusedError:
            return True
        other.close()
        return False

    await until(refused)
    writer.write(request[-10:])
    assert (await reader.read()).startswith(b"HTTP/1.1 202")
    await until(gone(process))
    assert process.exit_code == 0
    writer.close()
    silent.close()


async def test_the_port_is_free_soon_after_the_supervisor_is_killed(make: Make) -> None:
    gate = make(toml="[ingest]\nnotice_seconds = 600\n")
    process = await gate.started()
    children = gate.children()
    process.signal(signal.SIGKILL)
    await until(gone(process))

    async def free() -> bool:
        try:
            listen("127.0.0.1", gate.port).close()
        except Exception:
            return False
        return not any(_alive(child) for child in children)

    await until(free)


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def test_metrics_of_all_processes_are_one_and_those_of_dead_ones_stay(gate: Gate) -> None:
    clients = Clients(gate)
    async with clients.posting():
        await clients.more(50)
    assert await gate.counted() == clients.taken
    shown = await gate.metrics()
    assert shown.count("tidegate_build_info{") == 1
    assert "pid=" not in shown
    for killed in gate.children():
        os.kill(killed, signal.SIGKILL)
        await until(lambda killed=killed: _other(gate, killed))  # type: ignore[misc]
    async with clients.posting():
        await clients.more(50)
    assert await gate.counted() == clients.taken


async def _other(gate: Gate, killed: int) -> bool:
    return len(gate.children()) == 2 and killed not in gate.children()


def test_every_gauge_says_what_several_processes_show_as_one() -> None:
    """The default adds a label with the process id: a new series a restart, and no sum."""
    gauges = [each for each in vars(metrics).values() if isinstance(each, PrometheusGauge)]
    assert gauges
    assert [each._name for each in gauges if each._multiprocess_mode in ("all", "liveall")] == []


async def test_a_gate_whose_redis_is_gone_goes_on_trying_and_comes_back(
    make: Make, own_redis: Callable[..., RedisServer]
) -> None:
    redis = own_redis()
    gate = make(redis_url=redis.url)
    process = await gate.started()
    redis.kill()
    for child in gate.children():
        os.kill(child, signal.SIGKILL)
    await until(lambda: gate.says("does not answer", times=2))
    pauses = [json.loads(line)["in_seconds"] for line in gate.log().splitlines() if "in_seconds" in line]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 1, "it is started again and again without a pause"
    redis.restart()
    await until(lambda: gate.says("a gate process serves", times=4))
    assert process.alive
    assert (await ask(gate, "/readyz"))[0] == 200


@pytest.mark.parametrize(
    ("toml", "redis", "code", "said"),
    [
        ("", "redis://127.0.0.1:1", 3, "127.0.0.1:1"),
        ('[sources.bad]\nprovider = "nobodys"\nsecrets = ["x"]\n', "", 2, "source 'bad'"),
    ],
)
async def test_a_gate_that_cannot_start_says_why_in_one_line_and_ends(
    make: Make, toml: str, redis: str, code: int, said: str
) -> None:
    gate = make(toml=toml)
    if redis:
        gate.configure(toml, redis_url=redis)
    ended = await asyncio.to_thread(subprocess.run, gate.words(), capture_output=True, text=True, timeout=30)
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert (ended.returncode, len(lines)) == (code, 1)
    assert lines[0].startswith("tidegate: ")
    assert said in lines[0]


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_socket_of_the_service_manager_outlives_the_gate(make: Make, stream: Stream, workers: int) -> None:
    """The whole service stops and starts, and whoever connects meanwhile is answered by the next one."""
    gate = make(workers=workers, toml=NO_NOTICE)
    clients = Clients(gate)
    with socket.create_server(("127.0.0.1", gate.port), backlog=128) as listener:

        def start() -> subprocess.Popen[bytes]:
            words = gate.passing(listener)
            return subprocess.Popen(words, pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL)

        running = start()
        async with clients.posting():
            await clients.more()
            running.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(running.wait, 20) == 0
            running = start()
            await clients.more()
        running.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(running.wait, 20) == 0
    assert set(clients.answers) == {202}
    assert await on_stream(stream) == clients.taken


def test_a_process_that_hangs_is_ended_shown_and_replaced(tmp_path: Path) -> None:
    """No request of a client must be able to hold one for ever: here the second one hangs from its first second on."""
    script = tmp_path / "hangs.py"
    script.write_text(
        textwrap.dedent("""
        import os, signal, socket, sys, time
        from pathlib import Path
        from ingest.child import Edition
        from ingest.supervisor import Supervisor

        seen = Path(sys.argv[1])

        def serve(link):
            link.say("ready")
            number = len(list(seen.iterdir()))
            (seen / str(os.getpid())).touch()
            def hangs():
                while True:
                    time.sleep(60)
            if number == 0:
                hangs()
            if number == 1:
                os.kill(os.getppid(), signal.SIGTERM)
            while "stop" not in link.hear():
                link.say("beat")
                time.sleep(0.05)

        edition = Edition(1, 5.0, serve)
        sys.exit(Supervisor(edition, lambda: edition, socket.create_server(("127.0.0.1", 0)), hang_seconds=1).run())
        """)
    )
    seen = tmp_path / "seen"
    seen.mkdir()
    words = [sys.executable, str(script), str(seen)]
    ended = subprocess.run(
        words, capture_output=True, text=True, timeout=30, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )
    assert ended.returncode == 0, ended.stderr
    assert len(list(seen.iterdir())) == 2
    assert "in hangs" in ended.stderr
