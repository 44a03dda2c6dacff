"""What a person paused stays paused, whatever happens to Redis or was written there by others, until it is resumed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.fixtures import appendable, event
from tests.stream.steps import due, read, reenter, send, unaccounted
from tidegate.embedded import RedisServer
from tidegate.stream import Client, Pause, Pauses, PauseView, Settlement, Stream, connect
from tidegate.stream.keys import paused


@pytest.fixture
def pauses(client: Client, prefix: str) -> Pauses:
    return Pauses(client, prefix)


async def test_a_pause_is_there_for_everybody_until_it_is_cleared(client: Client, prefix: str) -> None:
    await Pauses(client, prefix).set("shop", "refuse", "moving house")
    other = Pauses(client, prefix)
    (pause,) = (await other.load()).values()
    assert (pause.mode, pause.why) == ("refuse", "moving house")
    assert await other.clear("shop") == pause
    assert await other.clear("shop") is None
    assert await other.load() == {}


async def test_set_again_it_is_as_last_said(pauses: Pauses) -> None:
    await pauses.set("shop", "refuse", "a")
    since_ms = (await pauses.load())["shop"].since_ms
    await pauses.set("shop", "hold", "x" * 1000, since_ms=since_ms)
    assert await pauses.load() == {"shop": Pause("hold", since_ms, "x" * 500)}


UNREADABLE = [
    b"",
    b"hold",
    b"[]",
    b"null",
    b'{"mode": "hold"}',
    b'{"mode": "stop", "since_ms": 1}',
    b"[" * 100_000,
    b"\xff",
]


async def test_what_another_hand_wrote_there_hides_no_other_pause(
    pauses: Pauses, client: Client, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    await client.hset(paused(prefix), mapping={f"bad-{number}": value for number, value in enumerate(UNREADABLE)})
    await client.hset(paused(prefix), b"\xff", b'{"mode": "hold", "since_ms": 1, "why": ""}')
    await client.hset(paused(prefix), "later", b'{"mode": "hold", "since_ms": 1, "by": "a later version"}')
    await pauses.set("shop", "hold")
    view = PauseView(pauses)
    for _ in range(3):
        assert await view.refresh()
    assert view.held == {"shop", "later"}
    said = caplog.text.count("none of ours")
    assert said == len(UNREADABLE) + 1, "once each, though it is read every second"
    assert await pauses.clear("bad-0") is None
    assert (await client.hexists(paused(prefix), "bad-0")) is False


@pytest.fixture
async def own_client(own_redis: Callable[..., RedisServer]) -> AsyncIterator[tuple[RedisServer, Client]]:
    server = own_redis()
    client = connect(server.url, timeout_seconds=5)
    yield server, client
    await client.aclose()


async def test_a_view_keeps_what_it_saw_while_redis_is_away_and_a_restart_keeps_the_pauses(
    own_client: tuple[RedisServer, Client],
) -> None:
    server, client = own_client
    pauses = Pauses(client, "own")
    view = PauseView(pauses)
    await pauses.set("shop", "hold")
    await pauses.set("crm", "refuse", "tired")
    assert await view.refresh()
    server.kill()
    assert not await view.refresh()
    crm = view.get("crm")
    assert crm is not None
    assert (crm.why, set(view.held)) == ("tired", {"shop"})
    server.start()
    assert await view.refresh()
    assert (view.get("crm"), set(view.held)) == (crm, {"shop"})
    await pauses.clear("crm")
    await pauses.clear("shop")
    assert await view.refresh()
    assert (view.held, view.get("crm"), view.get("shop")) == (frozenset(), None, None)


async def test_a_key_that_is_no_hash_changes_nothing_that_was_seen(pauses: Pauses, client: Client, prefix: str) -> None:
    view = PauseView(pauses)
    await pauses.set("shop", "hold")
    await view.refresh()
    await client.set(paused(prefix), "x")
    assert not await view.refresh()
    assert view.held == {"shop"}


async def hold(stream: Stream, client: Client, *names: str, shard: int = 0, source: str = "shop") -> None:
    await stream.append(shard, [appendable(event(name, source=source)) for name in names])
    ids = await read(stream, client, shard=shard)
    await stream.settle(shard, [Settlement(entry_id, "retry", source, b"{}", 3_600_000, held=True) for entry_id in ids])


async def test_a_resumed_source_is_due_at_once_on_every_shard_and_no_other_is(stream: Stream, client: Client) -> None:
    await hold(stream, client, "a")
    await hold(stream, client, "b", shard=1)
    await hold(stream, client, "c", source="crm")
    assert [await stream.held(source) for source in ("shop", "crm", "x")] == [2, 1, 0]
    assert await stream.resume("shop") == 2
    assert await stream.resume("shop") == 0
    assert [(await reenter(stream, shard))[0] for shard in (0, 1)] == [1, 1]
    assert [await stream.held(source) for source in ("shop", "crm")] == [0, 1]
    assert await unaccounted(stream) == 0


async def test_no_name_a_handler_gives_a_parent_releases_a_source(stream: Stream, client: Client) -> None:
    await hold(stream, client, "a")
    for name in ("shop", "held:shop", "source:shop", ":held:shop"):
        assert await stream.release([name]) == 0
    (entry_id,) = await send(stream, client, "orphan")
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 3_600_000, "shop")])
    assert await stream.resume("shop") == 1
    assert (await reenter(stream))[0] == 1


async def test_what_is_held_is_forgotten_by_name_when_its_time_comes_first(stream: Stream, client: Client) -> None:
    await stream.append(0, [appendable(event("a"))])
    (entry_id,) = await read(stream, client)
    await stream.settle(0, [Settlement(entry_id, "retry", "shop", b"{}", 0, held=True)])
    assert (await reenter(stream))[0] == 1
    assert await stream.held("shop") == 0


async def test_thousands_are_resumed_in_bounded_steps(
    stream: Stream, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.stream.stream.RELEASED_MAX", 10)
    await hold(stream, client, *(str(number) for number in range(30)))
    answers = iter([True, False, False])
    assert await stream.resume("shop", wanted=lambda: next(answers)) == 10, "put on hold again meanwhile"
    assert await stream.held("shop") == 20
    assert await stream.resume("shop") == 20
    assert len(await due(client, stream)) == 30
    assert (await reenter(stream, count=100))[0] == 30
