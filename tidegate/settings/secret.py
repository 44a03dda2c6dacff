"""Secrets that the settings only name: `env:NAME`, `file:/path`; and what each of several is called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr, field_validator, model_validator

from tidegate.errors import UsageError
from tidegate.settings.base import Section

LABEL_CHARS_MAX = 64


class LabelledSecret(Section):
    """One of a source's secrets. In the settings it may be a text, which is its ``value``."""

    value: SecretStr
    """The secret, `env:NAME` or `file:/path`."""
    label: str = ""
    """What it is called wherever it is spoken of. Without one: `env:NAME` or `file:/path`, else `secret 1`, by its place."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"value": given} if isinstance(given, (str, SecretStr)) else given

    @field_validator("label")
    @classmethod
    def _can_be_read(cls, given: str) -> str:
        if not given.strip():
            raise ValueError("a label is a text; leave it out to have the secret called by its place")
        if given != given.strip() or not given.isprintable():
            raise ValueError("a label has only characters that can be seen, and no space at its ends: change it")
        if len(given) > LABEL_CHARS_MAX:
            raise ValueError(f"a label has {LABEL_CHARS_MAX} characters at most, this one {len(given)}: shorten it")
        return given

    @model_validator(mode="after")
    def _label_is_no_secret(self) -> LabelledSecret:
        text = self.value.get_secret_value()
        if text and text in self.label and not self.is_reference:
            raise ValueError("the label holds the secret itself, and labels are shown: give it another one")
        return self

    @property
    def is_reference(self) -> bool:
        """Whether the settings only say where the secret is."""
        return self.value.get_secret_value().startswith(("env:", "file:"))


def labelled(secrets: Sequence[LabelledSecret]) -> list[LabelledSecret]:
    """Return ``secrets`` with a label each; raise ValueError where two have the same."""
    found: dict[str, LabelledSecret] = {}
    for number, secret in enumerate(secrets, 1):
        label = secret.label or (secret.value.get_secret_value() if secret.is_reference else f"secret {number}")
        if label in found:
            twice = (
                f"{label!r} is there twice"
                if secret.is_reference and not secret.label
                else f"two are labelled {label!r}"
            )
            raise ValueError(f"{twice}: take one of them out, or give each a label of its own")
        found[label] = secret.model_copy(update={"label": label})
    return list(found.values())


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
