"""Several gate processes on one listening socket, started, replaced and stopped by the process that holds it.

    SIGTERM, SIGINT   all leave; again: without notice (leaving.py). Who takes longer than it may is killed
    SIGHUP            settings are read again; new processes take over from the old ones, one after another
    a death           is replaced at once; early deaths in a row after a growing pause

The socket is open for as long as this process lives, so that nobody is refused whatever happens to the others. They are forked:
another one is there in milliseconds, shares our memory, and has the settings of its fellows and not a file half written.
uvicorn.supervisors.Multiprocess would read no settings again, respawn without pause, and hear no SIGTERM during a restart.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

import structlog

from ingest.link import Link
from ingest.staffing import STEADY_SECONDS, Member, pause_seconds, plan
from tidegate.errors import TidegateError, UnreachableError, UsageError
from tidegate.telemetry import logs, shared

log = logs.get(__name__)

READY_SECONDS = 30.0
"""How long a process may take until it serves."""
HANG_SECONDS = 30.0
"""How long its event loop may stand still."""
_CLEAN_UP_SECONDS = 5.0
_TURN_SECONDS = 0.5

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


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


class Supervisor:
    def __init__(
        self,
        edition: Edition,
        reread: Callable[[], Edition],
        listener: socket.socket,
        *,
        hang_seconds: float = HANG_SECONDS,
    ) -> None:
        """``reread`` returns the edition that SIGHUP asks for; raises TidegateError when there is none."""
        self._edition = edition
        self._number = self._renewals = 0
        self._served: tuple[int, Edition] | None = None
        """The edition that a process has served with, and its number."""
        self._reread = reread
        self._listener = listener
        self._hang_seconds = hang_seconds
        self._children: list[Child] = []
        self._failures = 0
        self._start_at = 0.0
        self._turned_at = time.monotonic()
        self._stopping = False
        self._killed = 0

    def run(self) -> int:
        """Return the exit code once all have left.

        Raises UsageError, UnreachableError or TidegateError when not even the first process gets to serve.
        """
        self._woken, self._waking = socket.socketpair()
        for end in (self._woken, self._waking):
            end.setblocking(False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)
        log.info("supervisor starts", workers=self._edition.workers, pid=os.getpid())
        try:
            self._turn()
            while not self._stopping or self._children:
                self._wait()
                self._turn()
        finally:
            for child in self._children:
                os.kill(child.pid, signal.SIGKILL)
        log.info("supervisor stopped", killed=self._killed)
        return 1 if self._killed else 0

    def _wait(self) -> None:
        links = [child.link.fileno() for child in self._children if not child.link.ended]
        until_start = self._start_at - time.monotonic()
        seconds = until_start if 0 < until_start < _TURN_SECONDS else _TURN_SECONDS
        select.select([self._woken.fileno(), *links], [], [], seconds)

    def _turn(self) -> None:
        now = time.monotonic()
        # A machine that slept, or a supervisor that was stopped, must not take its processes for silent.
        passed, self._turned_at = min(now - self._turned_at, 2 * _TURN_SECONDS), now
        for number in self._signals():
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop(now)
            elif number == signal.SIGHUP and not self._stopping:
                self._renew()
        for child in self._children:
            child.silent_seconds += passed
            self._hear(child)
        self._bury(now)
        for child in self._children:
            self._limit(child, now)
        if not self._stopping:
            self._staff(now)

    def _signals(self) -> bytes:
        with contextlib.suppress(BlockingIOError):
            return self._woken.recv(256)
        return b""

    # What happens to them.

    def _hear(self, child: Child) -> None:
        for line in child.link.hear():
            word, _, rest = line.partition(" ")
            if word == "beat":
                child.silent_seconds = 0.0
            elif word == "ready":
                child.ready = True
                log.info("a gate process serves", process=child.pid)
                if self._served is None or child.edition > self._served[0]:
                    self._served = child.edition, child.runs
            elif word == "failed":
                code, text = json.loads(rest)
                child.failure = code, text

    def _bury(self, now: float) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            # As the first process of a container we inherit strangers.
            for child in [child for child in self._children if child.pid == pid]:
                self._hear(child)
                self._children.remove(child)
                child.link.close()
                shared.forget(child.slot)
                self._gone(child, os.waitstatus_to_exitcode(status), now)

    def _gone(self, child: Child, code: int, now: float) -> None:
        how: dict[str, object] = {
            "process": child.pid,
            "exit": f"signal {signal.Signals(-code).name}" if code < 0 else code,
        }
        if child.failure is not None:
            how["error"] = child.failure[1]
        if child.leaving:
            (log.info if code in (0, -signal.SIGTERM) else log.warning)("a gate process has left", **how)
        elif not child.ready and child.edition == self._number and not self._proven:
            self._disproved(child, how)
        else:
            steady = child.ready and now - child.started_at >= STEADY_SECONDS
            self._failures = 0 if steady else self._failures + 1
            pause = pause_seconds(self._failures)
            self._start_at = now + pause
            log.error("a gate process died; another takes its place", **how, in_seconds=pause)

    def _disproved(self, child: Child, how: dict[str, object]) -> None:
        """The first process of these settings did not get to serve: go back to those that did, if any have."""
        if self._served is None:
            code, text = child.failure or (1, f"the gate died before it served: exit {how['exit']}")
            raise {2: UsageError, 3: UnreachableError}.get(code, TidegateError)(text)
        self._number, self._edition = self._served
        log.error("the new settings do not work; the old processes go on", **how)

    @property
    def _proven(self) -> bool:
        return self._served is not None and self._served[0] == self._number

    # What is done with them.

    def _limit(self, child: Child, now: float) -> None:
        if (child.leaving or not child.ready) and now >= child.ends_at:
            log.error("a gate process takes too long and is killed", process=child.pid, leaving=child.leaving)
            if not child.leaving:
                child.failure = 1, f"does not serve after {READY_SECONDS:.0f} s"
            self._killed += self._stopping
            child.ends_at = float("inf")
            os.kill(child.pid, signal.SIGKILL)
        elif child.ready and not child.leaving and child.silent_seconds > self._hang_seconds:
            log.error("a gate process hangs and is ended", process=child.pid, seconds=self._hang_seconds)
            child.leaving, child.ends_at = True, now + _CLEAN_UP_SECONDS
            os.kill(child.pid, signal.SIGABRT)  # faulthandler shows where it hangs; one that is stopped is killed later

    def _staff(self, now: float) -> None:
        staying = [child for child in self._children if not child.leaving]
        todo = plan(staying, edition=self._number, wanted=self._edition.workers, proven=self._proven)
        for child in todo.retire:
            self._send_away(child, "retire", now)
        if now >= self._start_at:
            for _ in range(todo.start):
                self._start(now)

    def _renew(self) -> None:
        try:
            self._edition = self._reread()
        except (TidegateError, OSError) as error:
            log.error("the new settings are wrong; the old processes go on", error=str(error))
            return
        self._renewals += 1
        self._number = self._renewals
        self._failures, self._start_at = 0, 0.0
        log.info("settings read again; new processes take over", workers=self._edition.workers)

    def _stop(self, now: float) -> None:
        if not self._stopping:
            self._stopping = True
            self._listener.close()  # theirs are still open; ours would take connections that nobody accepts any more
            for child in self._children:
                self._send_away(child, "stop", now)
        else:
            for child in self._children:
                child.link.say("hurry")

    def _send_away(self, child: Child, order: str, now: float) -> None:
        if not child.leaving:
            child.leaving = True
            child.ends_at = now + self._edition.leave_seconds + _CLEAN_UP_SECONDS
        child.link.say(order)
        if not child.ready:
            os.kill(child.pid, signal.SIGTERM)  # it may not listen to us yet, and has accepted nothing

    def _start(self, now: float) -> None:
        ours, theirs = socket.socketpair()
        slot = next(slot for slot in range(len(self._children) + 1) if all(slot != c.slot for c in self._children))
        try:
            with _signals_held():
                pid = os.fork()
                if not pid:
                    ours.close()
                    self._live(Link(theirs), slot)
        except OSError as error:
            ours.close()
            self._failures += 1
            self._start_at = now + pause_seconds(self._failures)
            log.error("cannot start a gate process", error=str(error))
            if not self._children:
                raise TidegateError(f"cannot start a gate process: {error}") from error
            return
        finally:
            theirs.close()
        self._children.append(
            Child(
                edition=self._number,
                pid=pid,
                runs=self._edition,
                link=Link(ours),
                slot=slot,
                started_at=now,
                ends_at=now + READY_SECONDS,
            )
        )

    def _live(self, link: Link, slot: int) -> NoReturn:
        """The new process, from fork to end: nothing of the supervisor's may be unwound in it."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal sends it to all of us; it is the supervisor's
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._woken.close()
            self._waking.close()
            for child in self._children:
                child.link.close()  # held open here, the end of the supervisor would not be seen by the others
            faulthandler.enable()
            shared.become(slot)
            structlog.contextvars.bind_contextvars(process=os.getpid())
            self._edition.serve(link)
            code = 0
        except TidegateError as error:
            code = error.exit_code
            link.say(f"failed {json.dumps([code, str(error)])}")
        except BaseException:
            log.exception("a gate process failed")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Across a fork: a signal to the new process must not be swallowed by our handler, nor come out of our pipe."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
