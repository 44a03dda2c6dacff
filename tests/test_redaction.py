"""Secrets and personal data do not reach logs, errors or stored headers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidegate.telemetry import redaction


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("redis://user:hunter2@host:6379/0", "redis://***@host:6379/0"),
        ("redis://:hunter2@host", "redis://***@host"),
        ("postgresql://u:p%40ss@h/db?x=1", "postgresql://***@h/db?x=1"),
        ("unix:///var/run/redis.sock", "unix:///var/run/redis.sock"),
        ("redis://host:6379", "redis://host:6379"),
    ],
)
def test_urls_are_shown_without_user_and_password(given: str, shown: str) -> None:
    assert redaction.without_password(given) == shown


def test_passwords_and_addresses_are_masked_in_any_text() -> None:
    text = redaction.text("cannot reach postgres://u:hunter2@db/x for ada.lovelace@example.com")
    assert text == "cannot reach postgres://***@db/x for ***@example.com"


def test_a_log_line_masks_by_name_at_any_depth() -> None:
    line = redaction.processor(
        None,
        "info",
        {"event": "x", "Authorization": "Bearer a", "data": {"api_key": "b", "list": [{"secret": "c"}]}, "n": 1},
    )
    assert line["Authorization"] == "***"
    assert line["data"] == {"api_key": "***", "list": [{"secret": "***"}]}
    assert line["n"] == 1


def test_kept_headers_hold_nothing_secret_and_have_an_end() -> None:
    kept = redaction.headers(
        [
            ("content-type", "application/json"),
            ("webhook-id", "msg_1"),
            ("webhook-signature", "v1,abc"),
            ("x-hubspot-signature-v3", "abc"),
            ("authorization", "Basic abc"),
            ("cookie", "session=abc"),
            ("x-api-key", "abc"),
            ("x-nul", "a\x00b"),
            ("x-long", "y" * 3000),
            ("x-after", "z"),
        ]
    )
    assert kept == {"content-type": "application/json", "webhook-id": "msg_1"}


@pytest.mark.parametrize("hostile", ["y" * 1_000_000, "a://" * 200_000, "a@" * 300_000, "a:" * 300_000])
def test_hostile_text_takes_linear_time(hostile: str) -> None:
    """A million characters would take minutes if a repetition had no end."""
    redaction.text(hostile)


def test_logs_are_json_and_redacted_tracebacks_too(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = (
        "from tidegate.telemetry import logs\n"
        "logs.configure('info', 'json', role='test')\n"
        "log = logs.get('x')\n"
        "try:\n    raise ValueError('redis://u:hunter2@h')\n"
        "except ValueError:\n    log.exception('it failed', token='abc')\n"
        "import logging\nlogging.getLogger('lib').warning('from postgres://u:hunter2@h')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    first, second = (json.loads(line) for line in done.stderr.splitlines())
    assert (first["event"], first["token"], first["role"]) == ("it failed", "***", "test")
    assert "ValueError" in first["exception"]
    assert "hunter2" not in done.stderr
    assert second["event"] == "from postgres://***@h"
