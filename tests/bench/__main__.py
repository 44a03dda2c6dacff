"""Run the benchmarks, those of throughput on embedded servers that keep the promise: every append on disk before its answer."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from tests.bench import append, apply, verification
from tidegate import serving
from tidegate.embedded import PostgresServer, RedisServer, start_together
from tidegate.postgres import schema
from tidegate.telemetry import logs


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="events a measurement (default 20000)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each way, taken in turn (default 3)")
    parser.add_argument("--only", choices=("verifying", "throughput"), help="default: both")
    given = parser.parse_args()
    logs.configure("error", "json")
    console = Console()
    if given.only != "throughput":
        console.print(_costs(given.rounds))
    if given.only != "verifying":
        _throughput(console, given.events, given.rounds)


def _throughput(console: Console, events: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        redis, postgres = RedisServer(Path(name) / "redis"), PostgresServer(Path(name) / "postgres")
        start_together(redis, postgres)
        try:
            with psycopg.connect(postgres.url, autocommit=True) as connection:
                connection.execute(schema.text().encode())
            for title, ways in (
                ("Taking in: events/s on disk in Redis, 64 requests at once", append.WAYS),
                ("Applying: events/s from the stream into Postgres, engagement counters included", apply.WAYS),
            ):
                figures: dict[str, list[float]] = {way: [] for way in ways}
                for _ in range(rounds):
                    for way, measure in ways.items():
                        figures[way].append(serving.run(measure(redis.url, postgres.url, events)))
                console.print(_table(title, figures))
        finally:
            redis.stop()
            postgres.stop()


def _costs(rounds: int) -> Table:
    table = Table(
        title=f"Verifying: microseconds a request of {verification.BODY_BYTES} bytes and a dozen headers",
        title_justify="left",
        header_style="bold",
        caption="bare: hmac.digest and a comparison over the same bytes; lowest of each, ratio: median of the pairs",
        caption_justify="left",
    )
    for column in ("provider", "bare", "verify", "ratio", "greeting", "split"):
        table.add_column(column, justify="left" if column == "provider" else "right")
    for cost in verification.measure(rounds):
        figures = (cost.bare, cost.verify, cost.ratio, cost.greeting, cost.split)
        table.add_row(cost.provider, *(f"{figure:.1f}" for figure in figures))
    return table


def _table(title: str, figures: dict[str, list[float]]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in ("way", "median events/s", "lowest", "highest", "ratio to the first"):
        table.add_column(column, justify="left" if column == "way" else "right")
    medians = {way: sorted(values)[len(values) // 2] for way, values in figures.items()}
    first = next(iter(medians.values()))
    for way, values in figures.items():
        ratio = f"{medians[way] / first:.1f}"
        table.add_row(way, f"{medians[way]:,.0f}", f"{min(values):,.0f}", f"{max(values):,.0f}", ratio)
    return table


if __name__ == "__main__":
    main()
