"""The `tidegate` command: the composition root, where the parts are put together."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from tidegate import __version__
from tidegate.cli.context import Context
from tidegate.errors import TidegateError

_COMMANDS = {
    "init": ("tidegate.cli.init", "Apply schema.sql (safe to repeat)."),
    "ingest": ("tidegate.cli.ingest", "Run the gate: take webhooks in."),
    "consume": ("tidegate.cli.consume", "Run a worker: apply events to Postgres."),
    "dlq": ("tidegate.cli.dlq", "Search, replay and discard dead letters."),
    "console": ("tidegate.cli.console", "Run the admin API and web console."),
    "audit": ("tidegate.cli.audit", "Show both sides of the ledger."),
    "doctor": ("tidegate.cli.doctor", "Show what the servers are set to, and which promise holds."),
    "sources": ("tidegate.cli.sources", "Show sources, pause and resume them, try one out."),
    "providers": (
        "tidegate.cli.providers",
        "Show the providers that can be connected by name, and how each is set up.",
    ),
    "send": ("tidegate.cli.send", "Sign a payload as its provider would, and post it."),
    "rejects": ("tidegate.cli.rejects", "Show the requests that the gate refused, and what to do about each."),
    "verify": ("tidegate.cli.verify", "Check captured requests, and say why one fails."),
    "up": ("tidegate.cli.up", "Run everything on embedded servers until Ctrl-C."),
    "demo": ("tidegate.cli.demo", "Run everything, send traffic, kill a worker, show the ledger."),
    "config": ("tidegate.cli.config", "Print the effective settings, secrets masked."),
    "version": ("tidegate.cli.version", "Print the version."),
}


class _Lazy(click.Group):
    """Imports a command only when it is asked for: `tidegate version` need not load a web server."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file. [default: $TIDEGATE_CONFIG, else ./tidegate.toml]",
)
@click.version_option(__version__, prog_name="tidegate")
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """A stream processor for webhooks: every event answered with 202 is always in exactly one place.

    Settings come from tidegate.toml and TIDEGATE_* variables; start with `tidegate demo`.
    """
    ctx.obj = Context(config)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 found something wrong, 2 bad usage or settings, 3 unreachable server."""
    try:
        cli(prog_name="tidegate")
    except TidegateError as error:
        for line in str(error).splitlines():
            click.echo(f"tidegate: {line}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)  # `tidegate dlq list | head`


if __name__ == "__main__":
    main()
