"""Settings errors are one clear line that says what to do; secrets come from where they are kept and go nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.errors import UsageError
from tidegate.settings import Settings, load


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in os.environ:
        if name.startswith("TIDEGATE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tidegate.toml"
    path.write_text(text)
    return path


SOURCE = '[sources.crm]\nprovider = "standard-webhooks"\nsecrets = ["env:CRM_SECRET", "file:{file}", "literal"]\n'


def test_secrets_come_from_environment_and_files_and_are_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    monkeypatch.setenv("CRM_SECRET", "from-env")
    settings = load(write(tmp_path, SOURCE.replace("{file}", str(tmp_path / "secret"))))
    assert settings.sources["crm"].read_secrets("crm") == ["from-env", "from-file", "literal"]
    assert not {"from-env", "from-file", "literal"} & set(repr(settings).replace("'", " ").split())


def test_environment_beats_the_file_and_arguments_beat_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "[ingest]\nport = 1\n[retry]\ndelays_seconds = [1]\n")
    assert load(path).ingest.port == 1
    monkeypatch.setenv("TIDEGATE_INGEST__PORT", "2")
    monkeypatch.setenv("TIDEGATE_RETRY__DELAYS_SECONDS", "[5, 15]")
    settings = load(path)
    assert (settings.ingest.port, settings.retry.delays_seconds) == (2, [5, 15])
    assert load(path, log_level="debug").log_level == "debug"


def test_the_file_is_found_by_variable_and_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "[ingest]\nport = 7\n")
    assert load().ingest.port == 7
    other = tmp_path / "other.toml"
    other.write_text("[ingest]\nport = 8\n")
    monkeypatch.setenv("TIDEGATE_CONFIG", str(other))
    assert load().ingest.port == 8


def test_defaults_are_those_documented() -> None:
    settings = load()
    assert settings.retry.delays_seconds == [5, 15, 60, 300, 900, 3600]
    assert (settings.ingest.port, settings.console.port, settings.consumer.metrics_port) == (8080, 8081, 9464)
    assert settings.redis_url is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[ingest]\nprot = 1\n", "unknown setting 'ingest.prot': did you mean 'ingest.port'?"),
        ("[inject]\nport = 1\n", "unknown setting 'inject'"),
        ("[ingest]\nport = 70000\n", "setting 'ingest.port': Input should be less than or equal to 65535"),
        ("[ingest\n", "is not TOML"),
        ('[sources.x]\nprovider = "hubspot"\nsecrets = []\n', "setting 'sources.x.secrets'"),
        (
            '[sources.x]\nprovider = "hubspot"\nsecret = "a"\nsecrets = ["b"]\n',
            "unknown setting 'sources.x.secret': did you mean 'sources.x.secrets'?",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        load(write(tmp_path, text))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("env:NOT_SET", "setting 'sources.x.secrets': environment variable NOT_SET is not set"),
        ("file:/nowhere", "setting 'sources.x.secrets': secret file /nowhere cannot be read"),
    ],
)
def test_a_secret_that_is_not_there_is_an_error_for_the_process_that_uses_it(
    tmp_path: Path, reference: str, said: str
) -> None:
    """And only for that: a worker need not hold the secrets of the gate."""
    settings = load(write(tmp_path, f'[sources.x]\nprovider = "hubspot"\nsecrets = ["{reference}"]\n'))
    with pytest.raises(UsageError) as error:
        settings.sources["x"].read_secrets("x")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("TIDEGATE_INGEST__PROT", "did you mean TIDEGATE_INGEST__PORT?"),
        ("TIDEGATE_REDISURL", "did you mean TIDEGATE_REDIS_URL?"),
        ("TIDEGATE_XYZZY_PLUGH", "unknown setting TIDEGATE_XYZZY_PLUGH in the environment"),
    ],
)
def test_an_unknown_variable_is_refused_with_its_nearest_neighbour(
    monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        load()


def test_a_wrong_value_is_not_echoed_it_may_be_a_secret(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        load(write(tmp_path, '[sources.x]\nprovider = "hubspot"\nsecrets = "hunter2"\n'))
    assert "hunter2" not in str(error.value)


def test_a_missing_server_setting_names_the_variable() -> None:
    with pytest.raises(UsageError, match="TIDEGATE_REDIS_URL"):
        Settings().require_redis()
    with pytest.raises(UsageError, match="TIDEGATE_POSTGRES_URL"):
        Settings().require_postgres()


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load(tmp_path / "nothing.toml")


def secrets(*entries: str) -> str:
    return f'[sources.x]\nprovider = "hubspot"\nsecrets = [{", ".join(entries)}]\n'


def test_a_secret_has_the_label_it_was_given_or_its_reference_or_its_place(tmp_path: Path) -> None:
    given = ['"literal"', '"env:A"', '{ value = "env:B", label = "2026-08" }', '{ value = "file:/x" }', '"other"']
    source = load(write(tmp_path, secrets(*given))).sources["x"]
    assert source.labels == ["secret 1", "env:A", "2026-08", "file:/x", "secret 5"]


def test_texts_and_tables_are_the_same_secrets_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    monkeypatch.setenv("A", "from-env")
    given = [f'{{ value = "file:{tmp_path}/secret", label = "f" }}', '"env:A"', '{ value = "literal", label = "l" }']
    source = load(write(tmp_path, secrets(*given))).sources["x"]
    assert source.read_secrets("x") == ["from-file", "from-env", "literal"]
    assert source.labels == ["f", "env:A", "l"]


@pytest.mark.parametrize("whole", [True, False])
def test_labels_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    given = '["env:A", {"value": "hunter2", "label": "2026-08"}]'
    if whole:
        monkeypatch.setenv("TIDEGATE_SOURCES", f'{{"x": {{"provider": "hubspot", "secrets": {given}}}}}')
    else:
        monkeypatch.setenv("TIDEGATE_SOURCES__X__PROVIDER", "hubspot")
        monkeypatch.setenv("TIDEGATE_SOURCES__X__SECRETS", given)
    assert load().sources["x"].labels == ["env:A", "2026-08"]


def test_settings_are_shown_with_labels_and_without_values(tmp_path: Path) -> None:
    settings = load(write(tmp_path, secrets('"hunter2"', '{ value = "hunter3", label = "2026-08" }')))
    assert settings.model_dump(mode="json")["sources"]["x"]["secrets"] == [
        {"value": "**********", "label": "secret 1"},
        {"value": "**********", "label": "2026-08"},
    ]
    assert "hunter" not in repr(settings)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (['"env:A"', '"env:A"'], "'env:A' is there twice: take one of them out, or give each a label of its own"),
        (['{ value = "hunter2", label = "a" }', '{ value = "env:B", label = "a" }'], "two are labelled 'a'"),
        (['"hunter2"', '{ value = "env:B", label = "secret 1" }'], "two are labelled 'secret 1'"),
        (['{ value = "hunter2", label = "" }'], "leave it out"),
        (['{ value = "hunter2", label = " a" }'], "no space at its ends"),
        (['{ value = "hunter2", label = "a\\u001b[2J" }'], "only characters that can be seen"),
        ([f'{{ value = "hunter2", label = "{"a" * 65}" }}'], "64 characters at most, this one 65"),
        (['{ value = "hunter2", label = "my hunter2" }'], "the label holds the secret itself"),
        (
            ['{ value = "hunter2", lable = "a" }'],
            "'sources.x.secrets.0.lable': did you mean 'sources.x.secrets.0.label'?",
        ),
        (['{ label = "a" }'], "setting 'sources.x.secrets.0.value': it is needed, and not there"),
        (['"hunter2"', "5"], "entry 2 is neither a text nor a table"),
    ],
)
def test_what_is_wrong_with_a_label_is_said_without_the_secret(tmp_path: Path, entries: list[str], said: str) -> None:
    with pytest.raises(UsageError) as error:
        load(write(tmp_path, secrets(*entries)))
    assert said in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_label_may_be_64_characters_long_and_of_any_script(tmp_path: Path) -> None:
    given = [f'{{ value = "a", label = "{"é" * 64}" }}', '{ value = "b", label = "von März, zweiter" }']
    assert load(write(tmp_path, secrets(*given))).sources["x"].labels == ["é" * 64, "von März, zweiter"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("secrets = []", 'a source has a list of secrets, one at least: secrets = ["env:NAME"]'),
        ('secrets = "hunter2"', 'a source has a list of secrets, one at least: secrets = ["env:NAME"]'),
        ("", 'a source has a list of secrets, one at least: secrets = ["env:NAME"]'),
        ('secrets = ["a"]\npublic_url = "hooks.example.com/x"', "it is the whole URL that the provider was given"),
        ('secrets = ["a"]\npublic_url = "https://"', "it is the whole URL that the provider was given"),
        ('secrets = ["a"]\npublic_url = "https://hooks.example.com/x#a"', "what follows a # is never sent"),
    ],
)
def test_what_is_wrong_with_a_source_is_said_in_our_own_words(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        load(write(tmp_path, f'[sources.x]\nprovider = "stripe"\n{source}\n'))
    assert said in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_source_whose_name_cannot_be_part_of_a_url_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"setting 'sources\.My Shop': a name is part of a URL"):
        load(write(tmp_path, '[sources."My Shop"]\nprovider = "stripe"\nsecrets = ["a"]\n'))
