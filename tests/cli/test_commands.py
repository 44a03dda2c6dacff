"""Each command as a process: what it prints, its exit code, and never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOWHERE = {"TIDEGATE_REDIS_URL": "redis://127.0.0.1:1", "TIDEGATE_POSTGRES_URL": "postgresql://u:hunter2@127.0.0.1:1/x"}


def run(
    *words: str, cwd: Path, given: dict[str, str] | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", *words],
        cwd=cwd,
        env=environment | (given or {}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tidegate.toml").write_text(f'[sources.crm]\nprovider = "standard-webhooks"\nsecrets = ["{SECRET}"]\n')
    return tmp_path


@pytest.fixture
def servers_given(redis_url: str, postgres_url: str, prefix: str) -> dict[str, str]:
    return {
        "TIDEGATE_REDIS_URL": redis_url,
        "TIDEGATE_POSTGRES_URL": postgres_url,
        "TIDEGATE_STREAM__PREFIX": prefix,
    }


@pytest.mark.parametrize(
    "command",
    [
        "init",
        "ingest",
        "consume",
        "dlq",
        "console",
        "audit",
        "doctor",
        "sources",
        "providers",
        "send",
        "rejects",
        "verify",
        "up",
        "demo",
        "config",
    ],
)
def test_every_command_has_help(tmp_path: Path, command: str) -> None:
    done = run(command, "--help", cwd=tmp_path)
    assert (done.returncode, done.stdout[:6]) == (0, "Usage:")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("ingest", "--port", "0"), "TIDEGATE_REDIS_URL"),
        (("consume", "--metrics-port", "0"), "TIDEGATE_REDIS_URL"),
        (("audit",), "TIDEGATE_REDIS_URL"),
        (("init",), "TIDEGATE_POSTGRES_URL"),
        (("dlq", "list"), "TIDEGATE_POSTGRES_URL"),
        (("doctor",), "TIDEGATE_REDIS_URL"),
        (("rejects",), "TIDEGATE_REDIS_URL"),
    ],
)
def test_a_missing_setting_is_one_line_naming_the_variable_and_exit_2(
    folder: Path, words: tuple[str, ...], names: str
) -> None:
    done = run(*words, cwd=folder)
    assert done.returncode == 2
    assert names in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("ingest", "--port", "0"),
        ("consume", "--metrics-port", "0"),
        ("audit",),
        ("init",),
        ("dlq", "list"),
        ("dlq", "stats"),
        ("doctor",),
        ("rejects",),
        ("rejects", "--follow"),
        ("send", "crm", "--url", "http://127.0.0.1:1/webhooks/crm"),
    ],
)
def test_a_server_that_is_away_is_one_line_and_exit_3(folder: Path, words: tuple[str, ...]) -> None:
    done = run(*words, cwd=folder, given=NOWHERE)
    assert done.returncode == 3, done.stderr
    assert "does not answer" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_database_without_tables_says_run_init_and_init_repeats(
    folder: Path, servers_given: dict[str, str], postgres_url: str
) -> None:
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP TABLE tidegate_schema")
        done = run("consume", "--metrics-port", "0", cwd=folder, given=servers_given)
        assert (done.returncode, "run `tidegate init`" in done.stderr) == (2, True)
        for _ in range(2):
            assert run("init", cwd=folder, given=servers_given).returncode == 0
        connection.execute("UPDATE tidegate_schema SET version = 99")
    done = run("audit", cwd=folder, given=servers_given)
    assert (done.returncode, "upgrade Tidegate" in done.stderr) == (2, True)


def test_wrong_settings_end_every_command_with_exit_2(folder: Path) -> None:
    (folder / "tidegate.toml").write_text("[ingest]\nprot = 1\n")
    done = run("config", cwd=folder)
    assert (done.returncode, done.stderr) == (
        2,
        "tidegate: unknown setting 'ingest.prot': did you mean 'ingest.port'?\n",
    )
    assert run("nonsense", cwd=folder).returncode == 2
    assert run("ingest", "--port", "x", cwd=folder).returncode == 2


def test_a_gate_without_sources_or_with_a_bad_secret_does_not_start(tmp_path: Path) -> None:
    done = run("ingest", "--port", "0", cwd=tmp_path, given=NOWHERE)
    assert (done.returncode, "no sources" in done.stderr) == (2, True)
    (tmp_path / "tidegate.toml").write_text('[sources.a]\nprovider = "lemlits"\nsecrets = ["x"]\n')
    done = run("ingest", "--port", "0", cwd=tmp_path, given=NOWHERE)
    assert (done.returncode, "lemlist" in done.stderr) == (2, True)


def test_a_port_that_is_taken_is_said(folder: Path, servers_given: dict[str, str]) -> None:
    from tidegate.serving import listen

    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        done = run("ingest", "--host", "127.0.0.1", "--port", port, cwd=folder, given=servers_given)
        assert (done.returncode, "choose another --port" in done.stderr) == (2, True)
        done = run("consume", "--metrics-port", port, cwd=folder, given=servers_given)
        assert (done.returncode, "choose another" in done.stderr) == (2, True)


def test_config_shows_what_is_in_force_and_no_secret(folder: Path) -> None:
    done = run("config", cwd=folder, given=NOWHERE | {"TIDEGATE_INGEST__PORT": "9"})
    shown = json.loads(done.stdout)
    assert shown["ingest"]["port"] == 9
    assert shown["postgres_url"] == "postgresql://***@127.0.0.1:1/x"
    assert SECRET not in done.stdout


def test_config_shows_what_a_retry_rule_comes_to(folder: Path) -> None:
    rule = '[retry]\njitter_ms = 7\n[[retry.rules]]\nsource = "crm"\ndelays_seconds = [1]\nmax_age_seconds = inf\n'
    with (folder / "tidegate.toml").open("a") as file:
        file.write(rule)
    (shown,) = json.loads(run("config", cwd=folder).stdout)["retry"]["rules"]
    assert shown == {"source": "crm", "type": "*", "delays_seconds": [1.0], "jitter_ms": 7, "max_age_seconds": None}


def test_audit_of_nothing_is_zero(folder: Path, servers_given: dict[str, str]) -> None:
    done = run("audit", "--json", cwd=folder, given=servers_given)
    assert done.returncode == 0
    assert json.loads(done.stdout)["unaccounted"] == 0
    assert "unaccounted 0" in run("audit", cwd=folder, given=servers_given).stdout


def test_audit_finds_an_event_that_somebody_deleted(
    folder: Path, servers_given: dict[str, str], redis_url: str, prefix: str
) -> None:
    import redis

    with redis.Redis.from_url(redis_url) as client:
        client.hset(f"{prefix}:{{0}}:ledger", "accepted:crm", 3)
        client.xadd(f"{prefix}:{{0}}:events", {"v": "1"})
    done = run("audit", cwd=folder, given=servers_given)
    assert (done.returncode, "unaccounted 2" in done.stdout) == (1, True)


def test_verify_tells_valid_from_invalid_and_why(folder: Path) -> None:
    from datetime import UTC, datetime

    import standardwebhooks

    at = datetime.fromtimestamp(1_700_000_000, UTC)
    body = '{"type": "a"}'
    signature = standardwebhooks.Webhook(SECRET).sign("m", at, body)
    headers = [["webhook-id", "m"], ["webhook-timestamp", "1700000000"], ["webhook-signature", signature]]
    line = {"method": "POST", "url": "https://x/", "headers": headers, "body": body, "at": 1_700_000_000}
    lines = "\n".join(json.dumps(item) for item in (line, line | {"body": body + " "}, line | {"at": 1}))
    done = run("verify", "crm", "--requests", "-", "--json", cwd=folder, stdin=lines)
    verdicts = [json.loads(item) for item in done.stdout.splitlines()]
    assert [item["valid"] for item in verdicts] == [True, False, False]
    assert [item["reason"] for item in verdicts[1:]] == ["bad_signature", "future"]
    assert [step["step"] for step in verdicts[1]["steps"] if step["good"] is False] == ["secret"]
    assert verdicts[1]["steps"][-1] == {"step": "cause", "good": None, "text": verdicts[1]["detail"]}
    assert done.returncode == 1
    assert run("verify", "nobody", "--requests", "-", cwd=folder, stdin=lines).returncode == 2


def test_doctor_says_which_promise_holds(folder: Path, own_redis: object, postgres_url: str) -> None:
    redis = own_redis()  # type: ignore[operator]
    given = {"TIDEGATE_REDIS_URL": redis.url, "TIDEGATE_POSTGRES_URL": postgres_url}
    findings = {
        item["what"]: item for item in json.loads(run("doctor", "--json", cwd=folder, given=given).stdout)["findings"]
    }
    assert not any(findings[f"redis {name}"]["remedy"] for name in ("appendonly", "appendfsync", "maxmemory-policy"))
    import redis as client

    with client.Redis.from_url(redis.url) as connection:
        connection.config_set("appendfsync", "everysec")
        connection.config_set("maxmemory-policy", "allkeys-lru")
    done = run("doctor", "--json", cwd=folder, given=given)
    assert done.returncode == 1
    findings = {item["what"]: item for item in json.loads(done.stdout)["findings"]}
    assert "appendfsync always" in findings["redis appendfsync"]["remedy"]
    assert "noeviction" in findings["redis maxmemory-policy"]["remedy"]
