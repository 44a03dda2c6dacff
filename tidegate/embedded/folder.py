"""What a server's folder holds besides its data: the lock, the password, the port and the log."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidegate.errors import UsageError

_LOG_BYTES_MAX = 10 * 1024 * 1024
_LOG_LINES_SHOWN = 8
_LOG_BYTES_SHOWN = 2_000
_POLL_SECONDS = 0.05


class Folder:
    """A folder that one live server owns, readable by its owner only.

    lock       held by the server's guard as long as the server lives; names the process that started it
    password   0600
    port       the last one used: taken again if it is free, so that a URL survives a restart of the program
    *.log      what the server wrote; begun anew past 10 MiB, with one old one kept
    """

    def __init__(self, path: Path, log_name: str) -> None:
        self.path = path.absolute()
        self.log = self.path / log_name
        self._log_start = 0

    def create(self) -> None:
        """Make the folder. Raises UsageError if that is not possible."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise UsageError(f"{self.path} cannot hold a server's data: {error.strerror}") from error

    @contextmanager
    def claim(self, product: str, limit_seconds: float) -> Iterator[int]:
        """Take the lock and yield its descriptor; whoever inherits that keeps the lock after this block.

        Raises UsageError at once if another live process owns the folder. If the owner is dead, its server is
        just stopping: that is waited for, up to the limit.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + limit_seconds
            while not _locked(descriptor):
                owner = _owner(descriptor)
                if owner is not None and _lives(owner):
                    raise UsageError(
                        f"{self.path} is in use by the {product} that process {owner} started: "
                        "stop that one, or choose another folder"
                    )
                if time.monotonic() > deadline:
                    raise UsageError(f"{self.path} is in use by a {product} that does not end: end it and try again")
                time.sleep(_POLL_SECONDS)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
            yield descriptor
        finally:
            os.close(descriptor)

    def password(self) -> str:
        """The server's password, made on the first call. Safe in a URL and in a configuration file."""
        path = self.path / "password"
        if path.exists():
            return path.read_text().strip()
        self.write_private("password", secrets.token_hex(24))
        return path.read_text().strip()

    def last_port(self) -> int | None:
        """The port of the last start, if there was one."""
        try:
            return int((self.path / "port").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def remember_port(self, port: int) -> None:
        self.write_private("port", f"{port}\n")

    def write_private(self, name: str, text: str) -> Path:
        """Write a file that only its owner may read, whole or not at all."""
        path = self.path / name
        draft = path.with_name(f"{name}.new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        return path

    def open_log(self) -> int:
        """A descriptor that appends to the log. `log_tail` then tells what came after this call."""
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._log_start = os.fstat(descriptor).st_size
        return descriptor

    def log_tail(self) -> str:
        """The last lines that the server wrote since it was started, in one line, for an error message."""
        try:
            with self.log.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self._log_start, end - _LOG_BYTES_SHOWN))
                lines = file.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        shown = [line.strip() for line in lines if line.strip()][-_LOG_LINES_SHOWN:]
        return " / ".join(shown) or "(nothing)"


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
