"""The engine, libFuzzer through atheris, in a process of its own: it ends the process it runs in, at the first fault."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.target import Target

REPOSITORY = Path(__file__).parents[2]
INPUT_BYTES_MAX = 4096
INPUT_SECONDS_MAX = 10
"""One input that takes longer is a fault: somebody would send it again and again."""
MEMORY_MB_MAX = 1024

_EXECUTED = re.compile(r"^#(\d+)\t")
_COVERED = re.compile(r"^#\d+\t.*\bcov: (\d+) ft: (\d+)")
_KEPT = re.compile(r"Test unit written to (\S+)")


def is_there() -> bool:
    """Tell whether this platform has the engine: atheris is made for Linux on x86-64 only."""
    return importlib.util.find_spec("atheris") is not None


@dataclass
class Result:
    """``executions`` of the check, ``covered`` branches; ``kept`` is the input that failed, ``said`` all the engine wrote."""

    exit_code: int = 0
    executions: int = 0
    covered: int = 0
    kept: Path | None = None
    said: str = ""

    @property
    def fault(self) -> str:
        """What was wrong, in a line; empty when nothing was."""
        if self.exit_code == 0:
            return ""
        lines = self.said.splitlines()
        named = [line for line in lines if re.match(r"(\w+\.)*\w+(Error|Exception|Interrupt): ?", line)]
        engine = [line for line in lines if line.startswith(("==", "SUMMARY", "ERROR"))]
        return (named or engine or lines or [f"exit code {self.exit_code}"])[-1][:500]


def run(
    target: Target,
    folder: Path,
    *,
    runs: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    replay: Path | None = None,
    show: Callable[[Result], None] = lambda _: None,
) -> Result:
    """Fuzz ``target`` until ``runs`` or ``seconds`` are over or a fault is found; return what came of it.

    ``folder`` gets the corpus, which a later run goes on with, and the input that failed. ``seed`` 0 is another one
    each time. With ``replay`` that one input is checked, and no other.
    """
    options = [
        f"-artifact_prefix={folder}/", f"-max_len={INPUT_BYTES_MAX}", f"-timeout={INPUT_SECONDS_MAX}",
        f"-rss_limit_mb={MEMORY_MB_MAX}", f"-seed={seed}",
    ]  # fmt: skip
    if target.words:
        options.append(f"-dict={_dictionary(target, folder)}")
    if runs is not None:
        options.append(f"-runs={runs}")
    if seconds is not None:
        options.append(f"-max_total_time={max(1, round(seconds))}")
    options.append(str(replay) if replay is not None else str(_corpus(target, folder)))
    result = Result()
    with _started([sys.executable, "-m", "tests.fuzz.child", target.name, *options]) as process:
        for line in _lines(process):
            _read(line, result)
            show(result)
        result.exit_code = process.wait()
    return result


def _read(line: str, result: Result) -> None:
    result.said += line
    if found := _EXECUTED.match(line):
        result.executions = int(found[1])
    if found := _COVERED.match(line):
        result.covered = int(found[1])
    if found := _KEPT.search(line):
        result.kept = Path(found[1])


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout


@contextmanager
def _started(words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        words,
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _corpus(target: Target, folder: Path) -> Path:
    corpus = folder / "corpus" / target.name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    return corpus


def _dictionary(target: Target, folder: Path) -> Path:
    path = folder / f"{target.name}.dict"
    words = ["".join(f"\\x{byte:02x}" for byte in word) for word in target.words]
    path.write_text("".join(f'"{word}"\n' for word in words))
    return path
