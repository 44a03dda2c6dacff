"""`tidegate send`: what it signs is what the gate takes, for every provider; and what it prints is what it would send."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest import service
from ingest.adapters import catalogue
from ingest.adapters.declaration import Declaration
from ingest.source import Source
from tests.cli.test_commands import run
from tests.ingest.adapters.secrets_of import secret_for
from tests.servers import Servers
from tidegate.cli import declarations, payloads, posting
from tidegate.cli.stack import Process
from tidegate.errors import UsageError
from tidegate.serving import listen
from tidegate.settings import Settings, load

PUBLIC_URL = "https://hooks.example.com/webhooks"
OWN = """
[sources.token]
provider = "token"
secrets = ["it's a secret & more"]
[providers.token.signature]
kind = "token"
query = "key"
[providers.token.events]
id = "id"
[[providers.token.samples]]
type = "made"
body = '{"id": "<id>", "type": "made"}'

[sources.public]
provider = "public"
secrets = ["3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"]
[providers.public.signature]
kind = "ed25519"
header = "X-Signature"
key = "hex"
[[providers.public.samples]]
type = "made"
body = '{}'
"""
SIGNED = [name for name in catalogue.names() if secret_for(name, catalogue.declaration(name)) is not None]


def source_name(provider: str) -> str:
    return provider.replace(".", "-")


def settings_text() -> str:
    text = "".join(
        f'[sources.{source_name(name)}]\nprovider = "{name}"\nsecrets = ["{secret_for(name, catalogue.declaration(name))}"]\n'
        f'public_url = "{PUBLIC_URL}/{source_name(name)}"\n'
        for name in SIGNED
    )
    return text + OWN


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("send")
    (made / "tidegate.toml").write_text(settings_text())
    return made


@pytest.fixture(scope="module")
def settings(folder: Path) -> Settings:
    return load(folder / "tidegate.toml")


@pytest.fixture(scope="module")
def sources(settings: Settings) -> dict[str, Source]:
    return service.sources(settings)


@contextmanager
def gate(folder: Path, redis_url: str, prefix: str) -> Iterator[str]:
    """Run `tidegate ingest` with the settings of ``folder``; give its URL."""
    with listen("127.0.0.1", 0) as listener:
        port: int = listener.getsockname()[1]
    config = folder / "gate.toml"
    config.write_text(
        f'redis_url = "{redis_url}"\nlog_format = "json"\n{settings_text()}\n[stream]\nprefix = "{prefix}"\n'
        "[ingest]\ninbox_rows_max = 0\n"
    )
    words = [sys.executable, "-m", "tidegate", "-c", str(config), "ingest", "--host", "127.0.0.1", "--port", str(port)]
    process = Process("gate", words, folder, health_port=port)
    try:
        process.wait_ready()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


def samples() -> list[tuple[str, str]]:
    return [
        (name, kind)
        for name in SIGNED
        for kind in dict.fromkeys(sample.type for sample in catalogue.declaration(name).samples)
    ]


@pytest.mark.parametrize(("provider", "kind"), samples())
def test_a_sample_of_every_type_is_authentic_and_an_event_of_that_type(
    provider: str, kind: str, settings: Settings, sources: dict[str, Source]
) -> None:
    source = sources[source_name(provider)]
    words = declarations.of_source(source.name, settings)
    ids = set()
    for _ in range(2):
        made = payloads.sample(words, event_type=kind)
        signed = posting.sign(source, made.body, settings, headers=made.headers)
        names = [name.lower() for name, _ in signed.headers]
        assert len(names) == len(set(names)), "a header twice is refused"
        assert source.adapter.verify(signed.request, time.time()) == 0
        event = source.adapter.split(signed.request)[0]
        assert (event.event_type, event.malformed) == (kind, None)
        ids.add(event.provider_event_id)
    assert len(ids) == 2, "the second would be taken for a repetition"


@pytest.mark.process
async def test_the_first_sample_of_every_provider_is_taken_by_a_gate(
    folder: Path, settings: Settings, sources: dict[str, Source], redis_url: str, prefix: str
) -> None:
    refused = {}
    with gate(folder, redis_url, prefix) as url:
        for name in [*map(source_name, SIGNED), "token"]:
            words = declarations.of_source(name, settings)
            if not words.samples:
                continue
            made = payloads.sample(words)
            signed = posting.sign(
                sources[name], made.body, settings, url=f"{url}/webhooks/{name}", headers=made.headers
            )
            answer = await posting.post(signed)
            if not answer.accepted:
                refused[name] = f"{answer.status} {answer.text}"
    assert refused == {}


@pytest.fixture(scope="module")
def running(folder: Path, servers: Servers) -> Iterator[str]:
    with gate(folder, servers.redis_url, "t_send") as url:
        yield url
    import redis

    with redis.Redis.from_url(servers.redis_url) as client:
        client.delete(*client.scan_iter(match="t_send*", count=1000))


def accepted(done: subprocess.CompletedProcess[str]) -> int:
    assert done.stdout.startswith("202 "), done.stdout + done.stderr
    count: int = json.loads(done.stdout[4:])["accepted"]
    return count


@pytest.mark.process
def test_the_answer_is_printed_and_a_refusal_is_exit_1(folder: Path, running: str) -> None:
    url = f"{running}/webhooks/stripe"
    done = run("send", "stripe", "--url", url, cwd=folder)
    assert (done.returncode, accepted(done)) == (0, 1)
    done = run("send", "stripe", "--url", url, "-H", "Stripe-Signature: t=1,v1=00", cwd=folder)
    assert (done.returncode, done.stdout[:4]) == (1, "401 ")
    done = run("send", "token", "--url", f"{running}/webhooks/token", cwd=folder)
    assert (done.returncode, accepted(done)) == (0, 1)


@pytest.mark.process
def test_a_file_is_sent_with_the_headers_given_or_those_of_a_sample(folder: Path, running: str) -> None:
    (folder / "push.json").write_text('{"ref": "refs/heads/main"}')
    url = f"{running}/webhooks/github"
    for words, kind in (
        (("-H", "X-GitHub-Event: push"), "push"),
        (("--type", "issues.opened"), "issues"),
        ((), "ping"),
    ):
        shown = run("send", "github", "push.json", *words, "--capture", cwd=folder).stdout
        assert dict(json.loads(shown)["headers"])["X-GitHub-Event"] == kind
        assert accepted(run("send", "github", "push.json", *words, "--url", url, cwd=folder)) == 1


@pytest.mark.process
def test_many_are_as_many_events(folder: Path, running: str) -> None:
    done = run("send", "stripe", "--count", "12", "--url", f"{running}/webhooks/stripe", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "12 x 202 Accepted\n", "")
    done = run("send", "stripe", "--count", "2", "--url", f"{running}/webhooks/nobody", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "2 x 404 Not Found\n")
    (folder / "one.json").write_text("{}")
    assert run("send", "stripe", "one.json", "--count", "2", cwd=folder).returncode == 2


@pytest.mark.process
@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("stripe", b'{"id": "%d", "type": "it\'s \\"a\\""}\n'),
        ("stripe", b'{"id": "%d",\r\n"a":"\xc2\x9b"}'),
        ("token", None),
    ],
)
def test_the_printed_command_sends_what_was_signed(folder: Path, running: str, source: str, body: bytes | None) -> None:
    words = ["send", source, "--url", f"{running}/webhooks/{source}"]
    if body is not None:
        (folder / "body").write_bytes(body % time.time_ns())
        words.append("body")
    shown = run(*words, "--dry-run", cwd=folder)
    assert shown.returncode == 0
    done = subprocess.run(["bash", "-c", shown.stdout], capture_output=True, text=True, check=False, timeout=60)
    answer = done.stdout.rpartition("\n")[2]
    assert json.loads(answer)["accepted"] == 1, done.stdout + done.stderr


@pytest.mark.parametrize("source", ["stripe", "hubspot", "token"])
def test_what_is_captured_verifies(folder: Path, source: str) -> None:
    line = run("send", source, "--capture", "--dry-run", cwd=folder).stdout
    done = run("verify", source, "--requests", "-", "--json", cwd=folder, stdin=line)
    assert json.loads(done.stdout)["valid"]
    (folder / "raw").write_bytes(b'\xff\x00"')
    line = run("send", "stripe", "raw", "--capture", cwd=folder).stdout
    assert "body_base64" in json.loads(line)


def test_types_are_listed_and_another_is_exit_2(folder: Path) -> None:
    assert run("send", "github", "--list", cwd=folder).stdout.splitlines()[:2] == ["ping", "issues.opened"]
    done = run("send", "github", "--type", "issues.closed", cwd=folder)
    assert (done.returncode, "issues.opened" in done.stderr) == (2, True)
    for header in ("a b: c", "no-colon", "X: a\nY: b"):
        assert run("send", "github", "-H", header, cwd=folder).returncode == 2


def test_whose_key_is_public_cannot_be_sent_for_and_it_is_said_what_to_do(folder: Path) -> None:
    done = run("send", "public", "--dry-run", cwd=folder)
    assert (done.returncode, "tidegate rejects" in done.stderr) == (2, True)


def test_a_sample_goes_with_its_own_content_type() -> None:
    form = "application/x-www-form-urlencoded"
    words = Declaration.model_validate(
        {
            "signature": {"kind": "token", "header": "X-Token"},
            "samples": [{"type": "a", "body": "a=1", "content_type": form}, {"type": "b", "body": "{}"}],
        }
    )
    assert payloads.sample(words).headers == [("Content-Type", form)]
    assert payloads.sample(words, event_type="b").headers == [("Content-Type", "application/json")]
    own = [("content-type", "application/x-own")]
    assert payloads.of_file(words, b"x", event_type="b", headers=own).headers == own


def test_a_payload_is_needed_where_there_is_no_sample(settings: Settings) -> None:
    words = declarations.of_source("token", settings).model_copy(update={"samples": []})
    with pytest.raises(UsageError, match="give a payload"):
        payloads.sample(words)
