"""The files people copy on their first day: they load, name no setting that is gone, and agree with each other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ingest import service
from ingest.adapters import catalogue
from tidegate.cli.main import cli
from tidegate.settings import Settings, load, reveal

ROOT = Path(__file__).parents[1]
TOML = (ROOT / "tidegate.example.toml").read_text(encoding="utf-8")
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
ENV = (ROOT / ".env.example").read_text(encoding="utf-8")
SECRETS = {
    "CRM_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "HUBSPOT_SECRET": "5d41402abc4b2a76b9719d911017c592",
    "LEMLIST_SECRET": "whk_7d793037a0760186574b0282",
    "DATABASE_URL": "postgresql://tidegate:guarded@db/tidegate",
}


@pytest.fixture(autouse=True)
def _only_the_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set in the shell of whoever runs the tests must not decide over them."""
    for name in os.environ:
        if name.startswith("TIDEGATE_"):
            monkeypatch.delenv(name)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def test_the_example_settings_are_the_defaults_and_three_sources_that_work() -> None:
    settings = load(ROOT / "tidegate.example.toml")
    assert settings.model_dump(exclude={"sources"}) == Settings().model_dump(exclude={"sources"})
    assert {name: source.adapter.provider for name, source in service.sources(settings).items()} == {
        "crm": "standard-webhooks",
        "hubspot": "hubspot",
        "lemlist": "lemlist",
    }


def test_every_line_that_is_commented_out_is_a_setting_at_its_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = tmp_path / "admin"
    admin.write_text("long and random\n")
    uncommented = re.sub(r"(?m)^#(?=[a-z\[])", "", TOML).replace("/run/secrets/admin", str(admin))
    assert uncommented.count("\n[") > 8
    assert "\nshards = 1" in uncommented, "the pattern above finds no setting any more"
    (tmp_path / "tidegate.toml").write_text(uncommented)
    monkeypatch.setenv("META_APP_SECRET", "of-the-app")
    monkeypatch.setenv("META_VERIFY_TOKEN", "made-up")
    settings = load(tmp_path / "tidegate.toml")
    assert {"pages", "crm"} < service.sources(settings).keys()
    assert catalogue.find("acme", settings.providers, {}).signatures
    shown = settings.model_dump(exclude={"sources", "providers"})
    defaults = dict(_leaves(Settings().model_dump(exclude={"sources"})))
    differing = {name: value for name, value in _leaves(shown) if value != defaults[name]}
    assert set(differing) == {name for name, value in defaults.items() if value is None}
    assert reveal(differing["admin_token"], "admin_token") == "long and random"


def test_config_prints_the_example_without_a_secret() -> None:
    answer = CliRunner().invoke(cli, ["-c", str(ROOT / "tidegate.example.toml"), "config"])
    assert answer.exit_code == 0, answer.output
    assert "https://hooks.example.com/webhooks/hubspot" in answer.output
    assert not [name for name, value in SECRETS.items() if value in answer.output]


def test_the_shipped_redis_keeps_what_a_202_promises() -> None:
    command = re.search(r"command: (redis-server .*)", COMPOSE)
    assert command
    words = command[1].split()
    given = dict(zip(words[1::2], words[2::2], strict=True))
    assert given == {"--appendonly": "yes", "--appendfsync": "always", "--maxmemory-policy": "noeviction"}


def test_compose_and_env_example_name_the_same_variables_and_no_password() -> None:
    used = dict(re.findall(r"\$\{([A-Z_]+)(:[-?])", COMPOSE))
    listed = dict(re.findall(r"(?m)^([A-Z_]+)=(.*)$", ENV))
    assert used.keys() == listed.keys()
    assert {name for name, kind in used.items() if kind == ":?"} == {
        name for name, value in listed.items() if not value
    }
    secret = {name for name in used if name.endswith(("_SECRET", "_TOKEN", "_PASSWORD"))}
    assert secret == {name for name, kind in used.items() if kind == ":?"}, "a secret must not have a default"


def test_compose_passes_on_every_secret_the_example_settings_read() -> None:
    read = set(re.findall(r'(?m)^[^#]*"env:([A-Z_]+)"', TOML))
    passed = set(re.findall(r"(?m)^      ([A-Z_]+_SECRET): \$\{\1:\?", COMPOSE))
    assert read == passed


@pytest.mark.parametrize(("service_name", "section"), [("gate", "ingest"), ("worker", "consumer")])
def test_compose_lets_a_process_drain_before_it_is_killed(service_name: str, section: str) -> None:
    block = re.search(rf"(?ms)^  {service_name}:\n(.*?)(?=^\S|^  \S)", COMPOSE)
    assert block
    grace = re.search(r"stop_grace_period: (\d+)s", block[1])
    assert grace
    assert int(grace[1]) >= getattr(Settings(), section).drain_seconds + 10


def _leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield path + name, value
