"""`module:name` from the command line, with errors that say what to fix."""

from __future__ import annotations

import difflib
import importlib
import sys
from pathlib import Path

from tidegate.errors import UsageError
from tidegate.handlers import Handlers


def load_handlers(reference: str) -> Handlers:
    """Import ``module:name`` and return the Handlers there; ``name`` may be dotted. Raises UsageError otherwise."""
    module_name, colon, attribute = reference.partition(":")
    if not colon or not module_name or not attribute:
        raise UsageError(f"{reference!r} is not MODULE:HANDLERS, for example myapp.hooks:handlers")
    here = str(Path.cwd())
    if here not in sys.path:  # a console script, unlike `python -m`, does not look where the user stands
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise UsageError(
                f"no module {missing!r} (looked in {here} and the installed packages): "
                "run from the folder that holds it, or install it"
            ) from None
        raise UsageError(f"{module_name} imports {missing!r}, which is not installed") from None
    except Exception as error:
        raise UsageError(f"importing {module_name} failed: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{module_name} has no {part!r}{hint}")
        found = getattr(found, part)
    if not isinstance(found, Handlers):
        raise UsageError(f"{reference} is a {type(found).__name__}, not tidegate.Handlers")
    if not len(found):
        raise UsageError(f"{reference} has no handlers: register some with @{attribute}.on(source, type)")
    return found
