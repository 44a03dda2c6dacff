"""`python -m tests.fuzz.child TARGET [libFuzzer options]`: the process that the engine takes over, and ends."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from tests.fuzz import reference

INSTRUMENTED = ["tidegate.jsontext", "tidegate.wire", "ingest.adapters", "ingest.unpacking", "tests.fuzz.targets"]


def main(name: str, options: list[str]) -> None:
    """Fuzz the target called ``name`` until the options say it is enough, or something is wrong. Does not return."""
    atheris: Any = importlib.import_module("atheris")  # has no types, and is not there on every platform
    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        from tests.fuzz.targets import PLANTED, TARGETS
    for function in reference.INSTRUMENTED:
        atheris.instrument_func(function)
    target = {**TARGETS, PLANTED.name: PLANTED}[name]
    atheris.Setup([sys.argv[0], *options], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
