"""`make chaos`: break everything under traffic, many times, and compare the books."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from tests.chaos import table
from tests.chaos.driver import Options, Progress, Result, play
from tests.chaos.overload import Options as OverloadOptions
from tests.chaos.overload import Overload
from tidegate import serving
from tidegate.embedded import PostgresServer, RedisServer, start_together
from tidegate.telemetry import logs

Say = Callable[[str], None]
PLAIN_WIDTH = 120


@click.command(context_settings={"show_default": True})
@click.option("--events", type=click.IntRange(100), default=200_000, help="Distinct events to send, about.")
@click.option("--faults", type=click.IntRange(1), default=100, help="Faults to make.")
@click.option("--seed", type=int, help="Repeat the schedule and traffic of an earlier run.  [default: a new one]")
@click.option("--minutes", type=click.FloatRange(0.2), default=15.0, help="What does not fit in fails.")
@click.option("--workers", type=click.IntRange(1), default=3, help="Worker processes.")
@click.option("--gates", type=click.IntRange(1), default=1, help="Gate processes.")
@click.option(
    "--overload",
    is_flag=True,
    help="Instead of faults under traffic: ten times what a gate may take, from clients good and bad, while Redis is away half "
    "of the time. Uses --minutes, --seed and --keep.",
)
@click.option("--keep", is_flag=True, help="Keep the folder with data and logs, though all is well.")
def main(
    events: int, faults: int, seed: int | None, minutes: float, workers: int, gates: int, overload: bool, keep: bool
) -> None:
    """Send known traffic over HTTP to real gates and workers while a seeded schedule kills, stops, cuts, stalls and
    fills whatever there is; then compare: every event accepted is applied once or is a letter.

    Exit 1 when anything is lost, doubled or unaccounted for; then the folder with all logs is kept, and the seed
    printed: it gives the same schedule and the same traffic again.
    """
    logs.configure("error", "json")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    if overload:
        sys.exit(
            0
            if _overload(minutes, random.SystemRandom().randrange(100_000) if seed is None else seed, keep, console)
            else 1
        )
    options = Options(
        events, faults, random.SystemRandom().randrange(100_000) if seed is None else seed, minutes, workers, gates
    )
    folder = Path(tempfile.mkdtemp(prefix="tidegate-chaos-"))
    console.print(f"[bold]Tidegate chaos[/bold]  seed {options.seed}, all files in {folder}")
    result = _run(options, folder, console)
    table.show(result, console)
    if result.good and not keep:
        shutil.rmtree(folder)
    else:
        console.print(f"seed {options.seed}, logs and data in {folder}")
    verdict = (
        "[bold green]every promise was kept[/bold green]" if result.good else "[bold red]promises broken[/bold red]"
    )
    console.print(verdict)
    sys.exit(0 if result.good else 1)


def _overload(minutes: float, seed: int, keep: bool, console: Console) -> bool:
    """Run the overload and print what came of it; return whether every promise was kept."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-overload-"))
    console.print(f"[bold]Tidegate overload[/bold]  seed {seed}, all files in {folder}")
    redis, database = RedisServer(folder / "redis"), PostgresServer(folder / "postgres", durable=True)
    start_together(redis, database)

    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    try:
        run = Overload(OverloadOptions(minutes, seed), folder, redis, database, say)
        result = serving.run(run.run())
    finally:
        redis.stop()
        database.stop()
    table.show_overload(result, console)
    good = not result.problems
    if good and not keep:
        shutil.rmtree(folder)
    else:
        console.print(f"seed {seed}, logs and data in {folder}")
    console.print("[bold green]every promise was kept[/bold green]" if good else "[bold red]promises broken[/bold red]")
    return good


def _run(options: Options, folder: Path, console: Console) -> Result:
    redis, postgres = RedisServer(folder / "redis"), PostgresServer(folder / "postgres", durable=True)
    start_together(redis, postgres)
    try:
        with (folder / "chaos.txt").open("w") as record, _shown(console) as (say, show):

            def note(text: str) -> None:
                record.write(text + "\n")
                record.flush()
                say(text)

            return serving.run(play(options, folder, redis, postgres, say=note, show=show))
    finally:
        redis.stop()
        postgres.stop()


@contextmanager
def _shown(console: Console) -> Iterator[tuple[Say, Callable[[Progress], None]]]:
    """Yield how to say a line and show the progress: bars below the lines on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        yield lambda text: console.print(text, soft_wrap=True), _plain(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True) as bars:
        posts = bars.add_task("posts", total=None)
        faults = bars.add_task("faults", total=None)
        left = bars.add_task("waiting", total=None)

        def show(progress: Progress) -> None:
            bars.update(posts, total=progress.posts_all, completed=progress.posts, description=progress.phase)
            bars.update(faults, total=progress.faults_all, completed=progress.faults)
            bars.update(left, completed=progress.left)

        yield console.print, show


def _plain(console: Console) -> Callable[[Progress], None]:
    shown = -1

    def show(progress: Progress) -> None:
        nonlocal shown
        tenth = progress.posts * 10 // max(1, progress.posts_all)
        if tenth != shown:
            shown = tenth
            console.print(
                f"           {progress.phase}: {progress.posts:,} of {progress.posts_all:,} posts, "
                f"{progress.faults} of {progress.faults_all} faults, {progress.left:,} on the streams",
                soft_wrap=True,
            )

    return show


if __name__ == "__main__":
    main()
