"""Runs one server, and ends it when the process that asked for it is gone, even if that was killed by SIGKILL.

    guard.py PARENT_PID STOP_SIGNAL STOP_SECONDS UID GID DESCRIPTORS COMMAND [ARGUMENT...]

Started by path with `python -I -S`; imports only the standard library, so that it is up within some tens of
milliseconds. UID and GID are -1 for "as we are"; DESCRIPTORS, such as "5,6" or "", are passed on. Standard
input is a pipe from the parent, standard output one to it:

    guard -> parent   the server's process id and a line feed
    parent -> guard   `T` stop in order, `K` kill; end of file means that the parent is gone: stop in order

The guard ends when the server has ended, never before. PR_SET_PDEATHSIG alone would not do: it follows the
*thread* that started the server, which may be a short-lived one. Here it only covers the death of the guard,
which has but one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

_PR_SET_PDEATHSIG = 1
# A copy of the pipe's other end in a process forked from the parent would hide the parent's end: so look at
# it, too.
_PARENT_CHECK_SECONDS = 0.5


def main(arguments: Sequence[str]) -> int:
    parent, stop_signal, stop_seconds, uid, gid = (int(argument) for argument in arguments[:5])
    descriptors, command = [int(each) for each in arguments[5].split(",") if each], arguments[6:]
    child_ended = _wake_on(signal.SIGCHLD, signal.SIGTERM)
    identity = {} if uid < 0 else {"user": uid, "group": gid, "extra_groups": []}
    try:
        server = subprocess.Popen(  # noqa: S603 - the command is our own
            command,
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            preexec_fn=_die_with_guard(stop_signal),
            **identity,  # type: ignore[call-overload]
        )
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return 127
    with contextlib.suppress(BrokenPipeError):
        os.write(1, b"%d\n" % server.pid)
    deadline = None
    while server.poll() is None:
        order = _next_order(child_ended, parent, listening=deadline is None)
        if order == b"K" or (deadline is not None and time.monotonic() > deadline):
            server.kill()
        elif order == b"T" and deadline is None:
            server.send_signal(stop_signal)
            deadline = time.monotonic() + stop_seconds
    return int(server.returncode) & 0xFF


def _next_order(child_ended: int, parent: int, *, listening: bool) -> bytes:
    """`T`, `K`, or nothing when the server may have ended or the time is up for another look."""
    ready, _, _ = select.select([0, child_ended] if listening else [child_ended], [], [], _PARENT_CHECK_SECONDS)
    if child_ended in ready and signal.SIGTERM in os.read(child_ended, 64):
        return b"T"
    if 0 in ready:
        return os.read(0, 1) or b"T"
    return b"T" if listening and os.getppid() != parent else b""


def _wake_on(*signals: signal.Signals) -> int:
    """A descriptor that has the signal's number to read when one of the signals came."""
    ours, kernels = os.pipe()
    os.set_blocking(kernels, False)
    for number in signals:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(kernels)
    return ours


def _die_with_guard(stop_signal: int) -> Callable[[], None] | None:
    """Linux: the server gets `stop_signal` when the guard dies. Runs after the change of user, which resets it."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)  # loaded before the fork: nothing is imported or allocated between fork and exec
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, stop_signal)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
