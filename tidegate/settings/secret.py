"""Secrets that the settings only name: `env:NAME`, `file:/path`."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import SecretStr

from tidegate.errors import UsageError


def reveal(secret: SecretStr, name: str) -> str:
    """Return the secret that ``secret`` is, or refers to as `env:NAME` or `file:/path`; ``name`` is for the error.

    Done where it is used and not when the settings are read: a worker need not hold the secrets of the gate.
    """
    kind, _, rest = secret.get_secret_value().partition(":")
    if kind == "env":
        found = os.environ.get(rest)
        if not found:
            raise UsageError(f"setting {name!r}: environment variable {rest} is not set")
        return found
    if kind == "file":
        try:
            # A trailing newline is the editor's, not the secret's.
            return Path(rest).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"setting {name!r}: secret file {rest} cannot be read: {error}") from None
    return secret.get_secret_value()
