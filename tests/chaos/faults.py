"""How each fault is made, held and lifted. What a name in `schedule.KINDS` does is the function of that name here.

A full disk takes root to make, so a trigger raises what PostgreSQL would. Redis' own clock cannot be moved, so what its
step would do is done: everything pending looks idle for an hour, and what waits for a retry is due an hour earlier.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import psutil  # type: ignore[import-untyped]
import psycopg
from redis.exceptions import RedisError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.chaos.processes import Place
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import KINDS, Fault
from tests.chaos.system import APPEND_SECONDS, INBOX_SECONDS, System
from tests.chaos.watch import Held, Watch
from tidegate.stream.keys import GROUP

T = TypeVar("T")
Making = Callable[[System, Watch, Fault], AbstractAsyncContextManager[None]]

REACH_SECONDS = 60.0
"""How long a server that was killed may take until a fault can be made or lifted there."""
RELOAD_SECONDS = 40.0
HOLDS_SECONDS = 4.0
"""How long to try to stop a worker while it holds something; then it is killed all the same."""

_AGE_LEASES = """
local after, aged = '-', 0
repeat
    local page = redis.call('XPENDING', KEYS[1], ARGV[1], after, '+', 500)
    for _, item in ipairs(page) do
        redis.call('XCLAIM', KEYS[1], ARGV[1], item[2], 0, item[1], 'IDLE', 3600000, 'JUSTID')
        after = '(' .. item[1]
    end
    aged = aged + #page
until #page < 500
return aged
"""
_AGE_RETRIES = """
local due = redis.call('ZRANGE', KEYS[1], 0, 9999, 'WITHSCORES')
for i = 1, #due, 2 do
    redis.call('ZADD', KEYS[1], string.format('%.0f', due[i + 1] - 3600000), due[i])
end
return #due / 2
"""


async def reached(step: Callable[[], Awaitable[T]]) -> T:
    """Return what ``step`` does, repeated while the server it needs is away."""
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type((RedisError, psycopg.Error, OSError, TimeoutError)),
        wait=wait_fixed(0.2),
        stop=stop_after_delay(REACH_SECONDS),
        reraise=True,
    ):
        with attempt:
            return await step()
    raise AssertionError("tenacity returns or raises")


def making(fault: Fault) -> Making:
    """Return what makes faults of this kind."""
    return _MAKING[fault.kind.name]


@asynccontextmanager
async def _worker_killed(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    place = _pick(system.processes.workers, fault)
    pid = place.process.pid
    held: list[Held] = []
    try:
        async with asyncio.timeout(HOLDS_SECONDS):
            while not held:
                # Stopped in a read it is given what comes next; stopped between two, never: then it is woken again.
                place.signal(signal.SIGCONT)
                await asyncio.sleep(0.02)
                place.signal(signal.SIGSTOP)
                await asyncio.sleep(0.1)
                with contextlib.suppress(RedisError, OSError):  # the group was just destroyed, or Redis killed
                    held = await watch.held_by(pid)
    except TimeoutError:
        watch.say(f"{place.name} never held anything: killed all the same")
    system.processes.kill(place)
    taken_over = asyncio.create_task(watch.takeover(place.name, held))
    yield
    await taken_over


@asynccontextmanager
async def _worker_stopped(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    async with _stopped(_pick(system.processes.workers, fault)):
        yield


@asynccontextmanager
async def _worker_zombie(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    place = _pick(system.processes.workers, fault)
    pid = place.process.pid
    async with _stopped(place):
        held: list[Held] = []
        with contextlib.suppress(RedisError, OSError):  # Redis was killed in the same step
            held = await watch.held_by(pid)
        yield
        watch.zombies += 1
        with contextlib.suppress(RedisError, OSError):
            watch.zombies_robbed += bool(held) and not await watch.held_by(pid)


@asynccontextmanager
async def _workers_restarted(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    for place in list(system.processes.workers):
        if not await system.processes.terminate(place):
            watch.note(f"{place.name} did not end within its time after SIGTERM: killed")
            system.processes.kill(place)
    yield


@asynccontextmanager
async def _gate_killed(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    place = _pick(system.processes.gates, fault)
    pids = place.pids
    victim = pids[int(fault.strength * len(pids))] if pids else place.process.pid
    if victim == place.process.pid:
        system.processes.kill(place)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    yield


@asynccontextmanager
async def _gate_stopped(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    async with _stopped(_pick(system.processes.gates, fault)):
        yield


@asynccontextmanager
async def _gate_restarted(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    place = _pick(system.processes.gates, fault)
    if not await system.processes.terminate(place):
        watch.note(f"{place.name} did not end within its time after SIGTERM: killed")
        system.processes.kill(place)
    yield


@asynccontextmanager
async def _gate_reloaded(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    place, url = system.processes.gates[-1], system.gate_urls[-1]
    before, broken = set(place.pids[1:]), watch.provider.broken[url]
    place.signal(signal.SIGHUP)
    until = time.monotonic() + RELOAD_SECONDS
    while time.monotonic() < until and (len(place.pids) != 1 + place.processes or before & set(place.pids)):
        await asyncio.sleep(0.05)
    if before & set(place.pids):
        watch.note(f"{place.name} was not reloaded in time")
    yield
    watch.reloads += 1
    watch.reloads_broken += watch.provider.broken[url] - broken


@asynccontextmanager
async def _clock_stepped(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    place = _pick([*system.processes.workers, *system.processes.gates], fault)
    place.step_clock((fault.strength - 0.5) * 1800)  # up to a quarter of an hour, either way
    yield
    place.step_clock(0)


@asynccontextmanager
async def _redis_killed(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    await asyncio.to_thread(system.redis.kill)
    yield
    await asyncio.to_thread(system.redis.start)


@asynccontextmanager
async def _postgres_killed(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    await asyncio.to_thread(system.postgres.kill)
    yield
    await asyncio.to_thread(system.postgres.start)


def _proxied(fault_of: Callable[[Proxy, Fault], AbstractAsyncContextManager[None]], which: str) -> Making:
    def make(system: System, watch: Watch, fault: Fault) -> AbstractAsyncContextManager[None]:
        return fault_of(system.redis_proxy if which == "Redis" else system.postgres_proxy, fault)

    return make


@asynccontextmanager
async def _cut(proxy: Proxy, fault: Fault) -> AsyncIterator[None]:
    proxy.cut()
    yield


@asynccontextmanager
async def _deaf(proxy: Proxy, fault: Fault) -> AsyncIterator[None]:
    proxy.stall()
    yield
    if fault.strength < 0.5:
        proxy.cut()  # else what was held back arrives now
    proxy.flow()


@asynccontextmanager
async def _slow(proxy: Proxy, fault: Fault) -> AsyncIterator[None]:
    proxy.delay_seconds = 0.01 + 0.1 * fault.strength
    yield
    proxy.delay_seconds = 0.0


@asynccontextmanager
async def _answers_lost(proxy: Proxy, fault: Fault) -> AsyncIterator[None]:
    proxy.lose_answers()
    yield
    proxy.answer()


@asynccontextmanager
async def _group_destroyed(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    for keys in system.stream.keys:
        name = keys.events
        await reached(lambda name=name: system.stream.client.xgroup_destroy(name, GROUP))  # type: ignore[misc]
    yield


@asynccontextmanager
async def _leases_aged(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    for keys in system.stream.keys:
        name = keys.events
        await reached(lambda name=name: system.stream.client.eval(_AGE_LEASES, 1, name, GROUP))  # type: ignore[misc]
    yield


@asynccontextmanager
async def _retries_aged(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    for keys in system.stream.keys:
        name = keys.due
        await reached(lambda name=name: system.stream.client.eval(_AGE_RETRIES, 1, name))  # type: ignore[misc]
    yield


@asynccontextmanager
async def _read_only(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    await _execute(system, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    yield
    await _execute(system, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")


@asynccontextmanager
async def _disk_full(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    await _execute(system, "UPDATE chaos_disk SET is_full = true")
    yield
    await _execute(system, "UPDATE chaos_disk SET is_full = false")


@asynccontextmanager
async def _both_away(system: System, watch: Watch, fault: Fault) -> AsyncIterator[None]:
    servers, proxies = (system.redis, system.postgres), (system.redis_proxy, system.postgres_proxy)
    for proxy in proxies:
        proxy.stall()
    if fault.strength < 0.5:
        await asyncio.gather(*(asyncio.to_thread(server.kill) for server in servers))
        for proxy in proxies:
            proxy.cut()
            proxy.flow()
    await asyncio.sleep(APPEND_SECONDS + INBOX_SECONDS + 1)  # what was under way is answered by then
    before = watch.provider.answers.copy()
    yield
    told = watch.provider.answers - before
    watch.told_503 += told["503"]
    watch.told_202 += told["202"]
    await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
    for proxy in proxies:
        proxy.flow()


async def _execute(system: System, *statements: str) -> None:
    async def run() -> None:
        async with system.connected() as connection:
            for statement in statements:
                await connection.execute(statement.encode())

    await reached(run)


@asynccontextmanager
async def _stopped(place: Place) -> AsyncIterator[None]:
    stopped: list[psutil.Process] = []
    for pid in place.pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            stopped.append(psutil.Process(pid))
            stopped[-1].suspend()
    yield
    for process in stopped:
        with contextlib.suppress(psutil.NoSuchProcess):  # another fault has killed it
            process.resume()


def _pick(places: list[Place], fault: Fault) -> Place:
    return places[fault.target % len(places)]


_MAKING: dict[str, Making] = {
    "worker killed": _worker_killed,
    "worker stopped: a zombie wakes": _worker_zombie,
    "worker stopped briefly": _worker_stopped,
    "workers restarted in turn": _workers_restarted,
    "gate killed": _gate_killed,
    "gate stopped": _gate_stopped,
    "gate restarted": _gate_restarted,
    "gate reloaded": _gate_reloaded,
    "clock of a process stepped": _clock_stepped,
    "Redis killed": _redis_killed,
    "Redis cut": _proxied(_cut, "Redis"),
    "Redis deaf": _proxied(_deaf, "Redis"),
    "Redis slow": _proxied(_slow, "Redis"),
    "Redis answers lost": _proxied(_answers_lost, "Redis"),
    "consumer group destroyed": _group_destroyed,
    "leases look an hour old": _leases_aged,
    "retries due an hour early": _retries_aged,
    "Postgres killed": _postgres_killed,
    "Postgres cut": _proxied(_cut, "Postgres"),
    "Postgres deaf": _proxied(_deaf, "Postgres"),
    "Postgres slow": _proxied(_slow, "Postgres"),
    "Postgres answers lost": _proxied(_answers_lost, "Postgres"),
    "Postgres read-only": _read_only,
    "Postgres disk full": _disk_full,
    "Redis and Postgres away": _both_away,
}
assert set(_MAKING) == {kind.name for kind in KINDS}, "every kind of the schedule is made here"
