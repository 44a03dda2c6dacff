"""`python -m tests.fuzz`: fuzz the parsers by hand, for as long as you like."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from tests.fuzz import engine
from tests.fuzz.engine import Result
from tests.fuzz.target import Target
from tests.fuzz.targets import PLANTED, TARGETS


@click.command(context_settings={"show_default": True})
@click.argument("names", metavar="TARGET...", nargs=-1, type=click.Choice(["all", *TARGETS, PLANTED.name]))
@click.option("--seconds", type=click.FloatRange(1), default=60.0, help="How long, each.")
@click.option("--runs", type=click.IntRange(1), help="How many inputs at most, each.")
@click.option(
    "--seed", type=click.IntRange(1), help="Make the same choices as an earlier run.  [default: others each time]"
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the corpus is kept and gone on with, and what failed.  [default: a new one]",
)
@click.option(
    "--input",
    "replay",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check this one input, as one that failed, and show all that is said of it.",
)
def main(
    names: tuple[str, ...], seconds: float, runs: int | None, seed: int | None, folder: Path | None, replay: Path | None
) -> None:
    """Give TARGET, a parser with its promises, made-up inputs until one breaks a promise. Exit 1 when one does."""
    console = Console(highlight=False)
    if not names:
        console.print("Targets: " + ", ".join(TARGETS) + "; all")
        return
    if not engine.is_there():
        raise click.ClickException("atheris, the engine, is not installed; it is made for Linux on x86-64 only")
    folder = (folder or Path(tempfile.mkdtemp(prefix="tidegate-fuzz-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    broken = 0
    wanted = [name for given in names for name in (TARGETS if given == "all" else [given])]
    for target in [TARGETS.get(name, PLANTED) for name in wanted]:
        started = time.monotonic()
        with console.status(target.name) as status:

            def show(result: Result, target: Target = target) -> None:
                status.update(f"{target.name}  {result.executions:,} inputs, {result.covered:,} branches")

            result = engine.run(target, folder, runs=runs, seconds=seconds, seed=seed or 0, replay=replay, show=show)
        broken += bool(result.fault)
        _tell(console, target, result, time.monotonic() - started, replay)
    console.print(f"corpus and inputs kept in {folder}")
    sys.exit(1 if broken else 0)


def _tell(console: Console, target: Target, result: Result, seconds: float, replay: Path | None) -> None:
    found = f"[red]{_escaped(result.fault)}[/red]" if result.fault else "[green]nothing found[/green]"
    console.print(
        f"{target.name:26} {seconds:6.0f} s {result.executions:12,} inputs {result.covered:6,} branches  {found}",
        soft_wrap=True,
    )
    if replay is not None:
        console.print(result.said, markup=False, soft_wrap=True)
    elif result.kept is not None:
        console.print(f"  again: python -m tests.fuzz {target.name} --input {result.kept}", soft_wrap=True)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


if __name__ == "__main__":
    main()
