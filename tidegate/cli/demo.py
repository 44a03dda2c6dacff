"""`tidegate demo`: the whole way in under a minute, with a worker killed on it."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from tenacity import AsyncRetrying, RetryError, retry_if_result, stop_after_delay, wait_fixed

from dlq import letters, replay
from dlq.audit import take
from dlq.letters import Filter
from tidegate.cli import audit, traffic
from tidegate.cli.context import Context, opened_postgres, opened_stream
from tidegate.cli.demo_sources import DemoSources
from tidegate.cli.sender import Sender
from tidegate.cli.stack import Process, Stack
from tidegate.cli.traffic import Post, Traffic
from tidegate.errors import TidegateError
from tidegate.ledger import Audit
from tidegate.postgres import Connection
from tidegate.stream import Stream

FOLDER = Path(".tidegate") / "demo"
_SETTINGS = """\
[consumer]
lease_seconds = 3      # production: 15
batch = 100
reconnect_seconds = 20

[retry]
delays_seconds = [0.5, 1, 2, 3]   # production: 5 s ... 1 h
jitter_ms = 200

"""
LIMIT_SECONDS = 45.0
"""How long the demo waits for any one condition before it says that something is wrong."""


@click.command("demo")
@click.option("--events", type=click.IntRange(100, 200_000), default=4000, show_default=True, help="Engagement events.")
@click.option("--seed", type=int, help="Repeat the traffic of an earlier run. [default: a new one]")
@click.option("--stay", is_flag=True, help="Keep everything running at the end, until Ctrl-C.")
@click.pass_obj
def command(context: Context, events: int, seed: int | None, stay: bool) -> None:
    """Run everything on embedded servers, send signed CRM, Lemlist and HubSpot traffic, kill a worker, show the ledger.

    Exit 1 when anything is unaccounted for, or a counter differs from what the sender knows.
    """
    context.settings()
    console = Console(highlight=False)
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    seed = seed if seed is not None else int(time.time()) % 100_000
    made = traffic.make(events, seed=seed, forgotten=7, poison=6, forged=12)
    console.print("\n[bold]Tidegate demo[/bold]  webhooks -> gate -> Redis stream -> workers -> Postgres\n")
    console.print("starting Redis, PostgreSQL, the gate, two workers and the console ...")
    secrets = DemoSources()
    with Stack(
        FOLDER,
        settings_text=lambda url: _SETTINGS + secrets.toml(url),
        python=[sys.executable, "-m", "tidegate"],
    ) as stack:
        _say(console, f"gate {stack.gate_url}   console {stack.console_url}")
        good = Context.run(_Demo(console, stack, made).run())
        console.print(f"\n[dim]{time.monotonic() - started:.0f} s, seed {seed}, logs in {FOLDER}/[/dim]")
        if stay:
            console.print(f"\nStill up: {stack.console_url} with token {stack.admin_token}; Ctrl-C stops it.")
            try:
                signal.pause()
            except KeyboardInterrupt:
                console.print("\nstopping ...")
    if not good:
        raise TidegateError("the demo found something unaccounted for; see above, and the logs")


class _Demo:
    def __init__(self, console: Console, stack: Stack, made: Traffic) -> None:
        self.console = console
        self.stack = stack
        self.made = made
        self.settings = stack.settings
        self.sender = Sender(stack.gate_url, self.settings)

    async def run(self) -> bool:
        """Play all phases; return whether everything is where it should be."""
        async with (
            opened_stream(self.settings) as stream,
            opened_postgres(self.settings, "tidegate demo") as connection,
        ):
            await self._send(stream)
            await self._settle(stream)
            await self._mend(stream, connection)
            result = await take(stream, connection)
            self.console.print()
            audit.show(result, self.console)
            metrics_agree = await self._compare_metrics(connection)
            rest_agrees = await self._compare_rest(result, connection)
            self._next()
            return result.unaccounted == 0 and metrics_agree and rest_agrees

    async def _send(self, stream: Stream) -> None:
        made = self.made
        _say(self.console, f"CRM announces campaigns and enrollments ({len(made.opening)} webhooks)")
        await self.sender.send(made.opening)
        _say(
            self.console,
            f"Lemlist and HubSpot report {sum(post.events for post in made.posts):,} events in {len(made.posts):,} requests: "
            "shuffled, 10 % twice, 10 % before their enrollment, some forged, some poisonous",
        )
        half = len(made.posts) // 2
        with _progress(self.console) as progress:
            bar = progress.add_task("sending", total=len(made.posts))
            await self.sender.send(made.posts[:half], _advance(progress, bar))
            rest = await self._kill(stream, self.stack.workers[0], made.posts[half:], _advance(progress, bar))
            replacing = asyncio.create_task(self._replace(self.stack.workers[0]))
            await self.sender.send(rest, _advance(progress, bar))
            await replacing
        answers = ", ".join(f"{count:,} x {status}" for status, count in sorted(self.sender.answers.items()))
        _say(self.console, f"answers: {answers} ({self.sender.duplicates:,} events recognised as repeated at the gate)")

    async def _kill(
        self, stream: Stream, victim: Process, posts: list[Post], sent: Callable[[Post], None]
    ) -> list[Post]:
        """SIGKILL a worker that certainly holds events; return the posts that are still to be sent.

        It is stopped while it waits in its read, so that the server gives it some of the next posts; if its read had just
        ended it gets none, is woken, and the posts after those try again.
        """
        step, count = max(20, len(posts) // 20), 0
        while posts and not count:

            async def idle() -> bool:
                return not (await stream.audit(0)).events

            await _until(idle, "the workers to be waiting")
            victim.signal(signal.SIGSTOP)
            await self.sender.send(posts[:step], sent)
            posts = posts[step:]
            consumers = await stream.consumers(0)
            count = sum(item["pending"] for item in consumers if f"-{victim.pid}-" in item["name"].decode())
            if not count:
                victim.signal(signal.SIGCONT)
        victim.signal(signal.SIGKILL)
        _say(self.console, f"[red]SIGKILL[/red] {victim.name} with {count} events in its hands")
        return posts

    async def _replace(self, victim: Process) -> None:
        replacement = self.stack.add_worker()
        await asyncio.to_thread(replacement.wait_ready)
        _say(self.console, f"{replacement.name} started; what {victim.name} held is claimed when its lease runs out")

    async def _settle(self, stream: Stream) -> None:
        """Wait until both streams are empty: claimed, retried, and the hopeless buried."""
        with _progress(self.console) as progress:
            bar = progress.add_task("settling", total=None)

            async def empty() -> bool:
                states = [await stream.audit(shard) for shard in range(len(stream.keys))]
                left = sum(state.events + state.retry for state in states)
                progress.update(bar, description=f"settling: {left} left on the streams")
                return not left

            await _until(empty, "the streams to be empty")
        _say(self.console, "nothing waits any more")

    async def _mend(self, stream: Stream, connection: Connection) -> None:
        orphaned = await letters.count(connection, Filter(status="open", reason="orphaned"))
        others = await letters.count(connection, Filter(status="open")) - orphaned
        _say(
            self.console,
            f"dead letters: [yellow]{orphaned} orphaned[/yellow] (an enrollment the CRM forgot to announce), "
            f"[yellow]{others}[/yellow] that can never be applied",
        )
        await self.sender.send(self.made.mending)
        _say(self.console, "the CRM announces the forgotten enrollment; replaying the orphaned letters")
        async for page in replay.matching(connection, Filter(status="open", reason="orphaned")):
            await replay.replay(stream, connection, page, rate=1000)

        async def resolved() -> bool:
            return not await letters.count(connection, Filter(status="replaying"))

        await self._settle(stream)
        await _until(resolved, "the replayed letters to be resolved")
        hopeless = [page async for page in replay.matching(connection, Filter(status="open"))]
        for page in hopeless:
            await letters.discard(connection, page)
        _say(self.console, f"{orphaned} replayed letters are resolved; the {others} hopeless ones are discarded")

    async def _compare_metrics(self, connection: Connection) -> bool:
        cursor = await connection.execute("SELECT campaign_id, event_type, count FROM campaign_metrics")
        found = Counter({(row[0], row[1]): row[2] for row in await cursor.fetchall()})
        table = Table(
            title="\nCampaign metrics", title_justify="left", title_style="bold", header_style="bold", box=SIMPLE
        )
        table.add_column("campaign")
        for action in traffic.ACTIONS:
            table.add_column(action, justify="right")
        for campaign in sorted({campaign for campaign, _ in self.made.metrics | found}):
            cells = []
            for action in traffic.ACTIONS:
                counted, known = found[campaign, action], self.made.metrics[campaign, action]
                equal = counted == known
                cells.append(
                    f"{counted:,} [green]=[/green]" if equal else f"[bold red]{counted:,} not {known:,}[/bold red]"
                )
            table.add_row(campaign, *cells)
        self.console.print(table)
        agree = found == +self.made.metrics
        self.console.print(
            f"[bold green]every counter equals the sender's own count[/bold green] ({sum(found.values()):,} actions)"
            if agree
            else "[bold red]counters differ from the sender's own count[/bold red]"
        )
        return agree

    async def _compare_rest(self, result: Audit, connection: Connection) -> bool:
        """Say what else differs from what the sender knows; return whether nothing does."""
        made, balance = self.made, result.balance
        wrong = [
            f"{what}: {found:,}, and not {known:,}"
            for what, found, known in (
                ("events answered 202 for the first time", self.sender.accepted, made.distinct),
                ("deliveries accepted", balance.accepted, made.distinct),
                ("events stored", balance.applied + balance.ignored, made.distinct - made.poison),
                ("requests answered 401", self.sender.answers[401], made.forged),
                ("letters resolved", await letters.count(connection, Filter(status="resolved")), made.forgotten),
                ("letters discarded", await letters.count(connection, Filter(status="discarded")), made.poison),
            )
            if found != known
        ]
        for line in wrong:
            self.console.print(f"[bold red]{line}[/bold red]")
        return not wrong

    def _next(self) -> None:
        self.console.print(
            "\n[bold]Where to look next[/bold]\n"
            "  make up                       the same, staying up: send your own events with curl\n"
            "  tidegate demo --stay          this demo, left running with its console\n"
            "  README.md                     connect a provider, write a handler\n"
            "  docs/architecture.md          the way of one event through the folders"
        )


def _say(console: Console, text: str) -> None:
    """Print a line with its time; what does not fit on it is indented."""
    line = Table.grid(padding=(0, 2))
    line.add_row(f"[dim]{time.strftime('%H:%M:%S')}[/dim]", text)
    console.print(line)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("          {task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
    )


def _advance(progress: Progress, bar: TaskID) -> Callable[[Post], None]:
    return lambda _post: progress.advance(bar)


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    asking = AsyncRetrying(
        retry=retry_if_result(lambda true: not true), wait=wait_fixed(0.05), stop=stop_after_delay(LIMIT_SECONDS)
    )
    try:
        await asking(condition)
    except RetryError:
        raise TidegateError(f"waited {LIMIT_SECONDS:.0f} s for {what}: see the logs in {FOLDER}/") from None
