"""A gate process under a supervisor: what that knows of it, and its life from fork to end."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn, Protocol

import structlog

from ingest.link import Link
from ingest.staffing import Member
from tidegate.errors import TidegateError
from tidegate.telemetry import logs, shared

log = logs.get(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
"""Those that the supervisor handles."""
READY_SECONDS = 30.0
"""How long a process may take until it serves."""
_ERROR_CHARACTERS_MAX = 2000


@dataclass(frozen=True)
class Edition:
    """Settings as they were read once: how many processes, and what each of them runs."""

    workers: int
    leave_seconds: float
    """How long one may take to leave, its notice included."""
    serve: Callable[[Link], None]
    """Runs in the process until it has left; raises TidegateError when it cannot serve."""


@dataclass(eq=False, kw_only=True)
class Child(Member):
    pid: int
    runs: Edition
    link: Link
    slot: int
    """The name of its metrics files; no two living processes have the same."""
    started_at: float
    leaving: bool = False
    ends_at: float
    """When it is killed, unless it is ready or gone by then."""
    silent_seconds: float = 0.0
    failure: tuple[int, str] | None = None
    """Its exit code, and why it failed."""


class Closable(Protocol):
    def close(self) -> None: ...


def start(edition: Edition, number: int, slot: int, supervisors: Iterable[Closable], now: float) -> Child:
    """Fork a process that runs ``edition``, and return what there is to know of it. Raises OSError.

    ``supervisors``: what it must not hold open. Its fellows' links among that: they would not see the supervisor's end.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        with _signals_held():
            try:
                pid = os.fork()
            except OSError:
                ours.close()
                raise
            if not pid:
                _live(edition, Link(theirs), slot, [ours, *supervisors])
    return Child(
        edition=number,
        pid=pid,
        runs=edition,
        link=Link(ours),
        slot=slot,
        started_at=now,
        ends_at=now + READY_SECONDS,
    )


def _live(edition: Edition, link: Link, slot: int, supervisors: Iterable[Closable]) -> NoReturn:
    """Everything from the fork on: nothing of the supervisor's call stack may be unwound here."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal sends it to all of us; it is the supervisor's
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        for each in supervisors:
            each.close()
        faulthandler.enable()  # where it hangs, should the supervisor end it for that
        shared.become(slot)
        structlog.contextvars.bind_contextvars(process=os.getpid())
        edition.serve(link)
        code = 0
    except TidegateError as error:
        code = error.exit_code
        link.say(f"failed {json.dumps([code, str(error)[:_ERROR_CHARACTERS_MAX]])}")
    except BaseException:
        log.exception("a gate process failed")
    finally:
        os._exit(code)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Across a fork: a signal to the new process must not be swallowed by our handler, nor come out of our pipe."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
