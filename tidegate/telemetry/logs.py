"""Structured logs: a line a batch, details at DEBUG, nothing secret."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog

from tidegate.telemetry import redaction

LogFormat = Literal["json", "console"]


def configure(level: str = "info", log_format: LogFormat | None = None, **fixed: Any) -> None:
    """Send all logs of this process, the libraries' too, to stderr. ``fixed`` fields are part of every line.

    ``log_format`` None means: for people when stderr is a terminal, else JSON.
    """
    console = log_format == "console" or (log_format is None and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    # A traceback becomes text before redaction: an error message may quote a URL with its password.
    shared += [structlog.processors.format_exc_info, redaction.processor]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if console
        else structlog.processors.JSONRenderer(sort_keys=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # uvicorn's access log is a line a request, and would show query strings.
    logging.getLogger("uvicorn.access").disabled = True
    # Its four lines a start and a stop say what ours say.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # psycopg's pool warns about each failed connection with the conninfo; the pool's errors reach us anyway.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**fixed)


def get(name: str) -> Any:
    """Return the logger called ``name``."""
    return structlog.get_logger(name)
