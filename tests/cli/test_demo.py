"""The demo is the first thing a new user runs: it must end well, and leave nothing running."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

pytestmark = pytest.mark.process

DEMO = [sys.executable, "-m", "tidegate", "demo", "--events", "400", "--seed", "7"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Whatever runs with this folder in its command line or as its working folder must be gone at the end."""
    yield tmp_path
    deadline = time.monotonic() + 20
    while left := _running(tmp_path):
        assert time.monotonic() < deadline, f"left running: {left}"
        psutil.wait_procs([psutil.Process(pid) for pid in left if psutil.pid_exists(pid)], timeout=0.5)


def _running(folder: Path) -> list[int]:
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
        if any(str(folder) in word for word in words):
            found.append(process.info["pid"])
    return found


def test_it_ends_with_everything_accounted_for(folder: Path) -> None:
    done = subprocess.run(DEMO, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SIGKILL" in done.stdout
    assert "unaccounted 0" in done.stdout
    assert "every counter equals the sender's own count" in done.stdout
    logs = "".join(path.read_text() for path in folder.glob(".tidegate/demo/*.log"))
    assert "took over entries nobody renewed" in logs
    assert "whk_" not in logs
    assert "Traceback" not in logs


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_cut_off_in_the_middle_it_leaves_nothing_running(folder: Path, number: int) -> None:
    with subprocess.Popen(DEMO, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "CRM announces" in line:
                break
        assert len(_running(folder)) > 4
        demo.send_signal(number)
        demo.stdout.read()
