"""`make chaos`: break everything under traffic, many times, and compare the books."""

from __future__ import annotations

import functools
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from tests.chaos import table
from tests.chaos.driver import Options, Progress, play
from tests.chaos.overload import CLIENTS, Overload
from tests.chaos.overload import Options as Overloading
from tidegate import serving
from tidegate.embedded import PostgresServer, RedisServer, start_together
from tidegate.telemetry import logs

Say = Callable[[str], None]
PLAIN_WIDTH = 120


@click.group(invoke_without_command=True, context_settings={"show_default": True})
@click.option("--events", type=click.IntRange(100), default=200_000, help="Distinct events to send, about.")
@click.option("--faults", type=click.IntRange(1), default=100, help="Faults to make.")
@click.option("--seed", type=int, help="Repeat the schedule and traffic of an earlier run.  [default: a new one]")
@click.option("--minutes", type=click.FloatRange(0.2), default=15.0, help="What does not fit in fails.")
@click.option("--workers", type=click.IntRange(1), default=3, help="Worker processes.")
@click.option("--gates", type=click.IntRange(1), default=2, help="Gates; the last is two processes on one port.")
@click.option("--keep", is_flag=True, help="Keep the folder with data and logs, though all is well.")
@click.pass_context
def main(
    context: click.Context,
    events: int,
    faults: int,
    seed: int | None,
    minutes: float,
    workers: int,
    gates: int,
    keep: bool,
) -> None:
    """Send known traffic over HTTP to real gates and workers while a seeded schedule kills, stops, cuts, stalls and
    fills whatever there is; then compare: every event accepted is applied once or is a letter.

    Exit 1 when anything is lost, doubled or unaccounted for; then the folder with all logs is kept, and the seed
    printed: it gives the same schedule and the same traffic again.
    """
    logs.configure("error", "json")
    if context.invoked_subcommand is not None:
        return
    options = Options(events, faults, _seed(seed), minutes, workers, gates)
    with _folder(options.seed, keep=keep) as (folder, console), _servers(folder) as servers, _record(folder) as record:
        with _shown(console) as (say, show):
            running = play(options, folder, *servers, say=lambda text: record(text, say), show=show)
            result = serving.run(running)
        table.show(result, console)
        raise SystemExit(0 if result.good else 1)


@main.command()
@click.option("--minutes", type=click.FloatRange(0.3), default=10.0, help="How long.")
@click.option("--seed", type=int, help="Repeat the phases and requests of an earlier run.  [default: a new one]")
@click.option("--clients", type=click.IntRange(20), default=CLIENTS, help="Connections that press on.")
@click.option("--keep", is_flag=True, help="Keep the folder with data and logs, though all is well.")
def overload(minutes: float, seed: int | None, clients: int, keep: bool) -> None:
    """Offer a gate with default limits ten times what it may take, and more, while Redis is away half of the time.

    Its workers are slow on purpose. Some clients dawdle, some hang up, some never read an answer, and nobody heeds
    Retry-After. Exit 1 when a gate process grows beyond 120 MiB, answers what it should not, or loses anything.
    """
    options = Overloading(minutes, _seed(seed), clients=clients)
    with _folder(options.seed, keep=keep) as (folder, console), _servers(folder) as servers, _record(folder) as record:
        say = functools.partial(console.print, soft_wrap=True)
        running = Overload(options, folder, *servers, lambda text: record(text, say)).run()
        result = serving.run(running)
        table.show_overload(result, console)
        raise SystemExit(1 if result.problems else 0)


def _seed(given: int | None) -> int:
    return random.SystemRandom().randrange(100_000) if given is None else given


@contextmanager
def _folder(seed: int, *, keep: bool) -> Iterator[tuple[Path, Console]]:
    """Yield a folder for all files of a run, which ends with SystemExit; what failed is kept, and where it is said."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    folder = Path(tempfile.mkdtemp(prefix="tidegate-chaos-"))
    console.print(f"[bold]Tidegate chaos[/bold]  seed {seed}, all files in {folder}")
    code: object = 1
    try:
        yield folder, console
    except SystemExit as ended:
        code = ended.code
        raise
    finally:
        if code or keep:
            console.print(f"seed {seed}, logs and data in {folder}")
        else:
            shutil.rmtree(folder)
        color, text = ("red", "promises broken") if code else ("green", "every promise was kept")
        console.print(f"[bold {color}]{text}[/bold {color}]")


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[RedisServer, PostgresServer]]:
    redis, postgres = RedisServer(folder / "redis"), PostgresServer(folder / "postgres", durable=True)
    start_together(redis, postgres)
    try:
        yield redis, postgres
    finally:
        redis.stop()
        postgres.stop()


@contextmanager
def _record(folder: Path) -> Iterator[Callable[[str, Say], None]]:
    """Yield how to say a line and keep it in chaos.txt."""
    with (folder / "chaos.txt").open("w") as record:

        def note(text: str, say: Say) -> None:
            record.write(text + "\n")
            record.flush()
            say(text)

        yield note


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
