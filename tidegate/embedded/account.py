"""The account that PostgreSQL runs under. It refuses to be root, so root lends it an unprivileged one."""

from __future__ import annotations

import hashlib
import logging
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tidegate.embedded.process import Command, Identity
from tidegate.errors import UsageError

_log = logging.getLogger(__name__)

_NAMES = ("postgres", "nobody")
_NOBODY = Identity(65534, 65534)
_COPIES = Path("/var/cache/tidegate")
_VERSION_SECONDS = 10


class Account:
    """Ourselves: what we can reach, it can."""

    def own(self, folder: Path) -> None:
        """Give the folder and all in it to the account, unless it has it."""

    def reachable(self, binary: Path) -> Path:
        """The folder with PostgreSQL's programs, at a place where the account may run them.

        Raises UsageError if there is no such place.
        """
        return binary

    @contextmanager
    def command_in(self, folder: Path) -> Iterator[tuple[Path, Command]]:
        """The name by which the account can call the folder, and a command, still empty, that may use that name."""
        yield folder, Command((), folder)


class StandIn(Account):
    """An unprivileged account working for root in folders that only root can reach: a project under /root, say."""

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise UsageError(
                "PostgreSQL does not run as root: run this as an ordinary user, "
                "or set TIDEGATE_POSTGRES_URL to a server of your own"
            )
        self.identity = _unprivileged()

    def own(self, folder: Path) -> None:
        if folder.stat().st_uid == self.identity.uid:
            return
        for parent, folders, files in os.walk(folder):
            for name in (".", *folders, *files):
                os.chown(Path(parent) / name, self.identity.uid, self.identity.gid, follow_symlinks=False)

    @contextmanager
    def command_in(self, folder: Path) -> Iterator[tuple[Path, Command]]:
        # A process may go through a folder that it has open whatever the folders above allow. So the data
        # stays where the user wants it, and nothing above it has to be opened to others. The working folder
        # will not do: up to version 15 PostgreSQL leaves it for a moment and must be able to return by name.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            name = Path(f"/proc/self/fd/{descriptor}")
            yield name, Command((), Path("/"), self.identity, (descriptor,))
        finally:
            os.close(descriptor)

    def reachable(self, binary: Path) -> Path:
        if self._runs(binary):
            return binary
        install = binary.parent
        # One copy for each place that wheels lie in, and a new one when the wheel there is a new one.
        stamp = f"{install} {(binary / 'postgres').stat().st_mtime_ns}"
        target = _COPIES / hashlib.sha256(stamp.encode()).hexdigest()[:16]
        if not target.exists():
            _log.debug("%s is out of reach for user %d: copied to %s", install, self.identity.uid, target)
            _copy(install, target)
        copied = target / install.parent.name / install.name / binary.name
        if not self._runs(copied):
            raise UsageError(
                f"an unprivileged user, which PostgreSQL needs, can run neither {binary} nor its copy in {target}: "
                "run this as an ordinary user, or set TIDEGATE_POSTGRES_URL to a server of your own"
            )
        return copied

    def _runs(self, binary: Path) -> bool:
        command = Command((), Path("/"), self.identity)
        try:
            return all(
                replace(command, words=[binary / program, "--version"]).run(limit_seconds=_VERSION_SECONDS)[0] == 0
                for program in ("postgres", "initdb")
            )
        except (OSError, subprocess.TimeoutExpired):
            return False


def account() -> Account:
    """Whom PostgreSQL is to run as here. Raises UsageError if nobody will do."""
    return StandIn() if os.geteuid() == 0 else Account()


def _unprivileged() -> Identity:
    for name in _NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Identity(entry.pw_uid, entry.pw_gid)
    return _NOBODY


def _copy(install: Path, target: Path) -> None:
    """Copy whole or not at all: two processes may do so at the same time, and the first to finish wins."""
    package = install.parent
    libraries = package.with_name(f"{package.name}.libs")  # where a Linux wheel keeps what its programs link to
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        draft.mkdir(mode=0o755, parents=True)
        shutil.copytree(install, draft / package.name / install.name, ignore=shutil.ignore_patterns("include"))
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name)
        # The umask may have taken the rights that this is all about.
        for path in (_COPIES, draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        draft.rename(target)
    except OSError as error:
        if not target.exists():
            raise UsageError(
                f"an unprivileged user, which PostgreSQL needs, cannot reach {install}, and copying it to {_COPIES} "
                f"failed ({error.strerror}): run this as an ordinary user"
            ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
