"""Several gate processes on one listening socket, started, replaced and stopped by the process that holds it.

    SIGTERM, SIGINT   all leave; again: without notice (leaving.py). Who takes longer than it may is killed
    SIGHUP            settings are read again; new processes take over from the old ones, one after another
    a death           is replaced at once; early deaths in a row after a growing pause

The socket is open for as long as this process lives, so that nobody is refused whatever happens to the others. They are forked:
another one is there in milliseconds, shares our memory, and has the settings of its fellows and not a file half written.
uvicorn.supervisors.Multiprocess would read no settings again, respawn without pause, wait for ever for one that does not leave,
and hear no SIGTERM during a restart.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable

from ingest.child import READY_SECONDS, SIGNALS, Child, Closable, Edition, start
from ingest.staffing import STEADY_SECONDS, pause_seconds, plan
from tidegate.errors import TidegateError, UnreachableError, UsageError
from tidegate.telemetry import logs, shared

log = logs.get(__name__)

HANG_SECONDS = 30.0
"""How long its event loop may stand still."""
_CLEAN_UP_SECONDS = 5.0
_TURN_SECONDS = 0.5


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
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)
        log.info("supervisor starts", workers=self._edition.workers, pid=os.getpid())
        try:
            self._turn()
            while not self._stopping or self._children:
                self._wait()
                self._turn()
        finally:
            # Others see that we are gone, and leave in order.
            for child in [child for child in self._children if not child.ready]:
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
            child.silent_seconds = 0.0
            word, _, rest = line.partition(" ")
            if word == "ready":
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
            log.info("supervisor stops", processes=len(self._children))
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
        slot = next(slot for slot in range(len(self._children) + 1) if all(slot != c.slot for c in self._children))
        ends: list[Closable] = [self._woken, self._waking, *(child.link for child in self._children)]
        try:
            self._children.append(start(self._edition, self._number, slot, ends, now))
        except OSError as error:
            self._failures += 1
            self._start_at = now + pause_seconds(self._failures)
            log.error("cannot start a gate process", error=str(error))
            if self._served is None:
                raise TidegateError(f"cannot start a gate process: {error}") from error
