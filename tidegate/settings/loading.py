"""Reading the settings from file and environment, and saying what is wrong with them, a line each."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, TomlConfigSettingsSource

from tidegate.errors import UsageError
from tidegate.settings.ingest import SourceSettings
from tidegate.settings.retry import RetryRule
from tidegate.settings.secret import LabelledSecret
from tidegate.settings.whole import PREFIX, Settings

DEFAULT_FILE = Path("tidegate.toml")
_NOT_SETTINGS = ("TIDEGATE_CONFIG", "TIDEGATE_TEST_", "TIDEGATE_EMBEDDED_")
"""Variables that share the prefix but choose a file, steer the tests, or locate embedded servers."""

_PLAINER = {"missing": "it is needed, and not there"}
_NO_SECRETS = frozenset({"missing", "list_type", "too_short"})
"""What is wrong with a list of secrets that is none: never given, one text, or empty."""


def load(path: Path | None = None, **arguments: Any) -> Settings:
    """Read the settings; raise UsageError listing everything that is wrong, a line each.

    ``path`` None means `TIDEGATE_CONFIG`, else `./tidegate.toml` if it is there. ``arguments`` override both.
    """
    file = chosen_file(path)

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)

    wrong = [_unknown_variable(name) for name in _unknown_variables(os.environ)]
    if wrong:
        raise UsageError("\n".join(wrong))
    try:
        return FromFile(**arguments)
    except ValidationError as error:
        raise UsageError("\n".join(_explain(item, file) for item in error.errors())) from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is not TOML: {error}") from None
    except ValueError as error:
        raise UsageError(f"settings cannot be read: {error}") from None


def chosen_file(path: Path | None) -> Path | None:
    """Return the file that `load` reads; None where there is none. Raises UsageError where the one asked for is not there."""
    given = path or (Path(os.environ["TIDEGATE_CONFIG"]) if os.environ.get("TIDEGATE_CONFIG") else None)
    if given is not None and not given.is_file():
        raise UsageError(f"settings file {given} does not exist")
    return given or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)


def _names(model: type[BaseModel]) -> Iterator[str]:
    for name, info in model.model_fields.items():
        section = info.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from (f"{name}.{inner}" for inner in _names(section))
        yield name


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    known = {PREFIX + name.replace(".", "__").upper() for name in _names(Settings)}
    for name in environment:
        upper = name.upper()
        if upper.startswith(PREFIX) and upper not in known and not upper.startswith(_NOT_SETTINGS):
            # Below a table with free names (sources, options, mappings) anything may follow.
            if any(upper.startswith(f"{free}__") for free in known if _is_free(free)):
                continue
            yield name


def _is_free(variable: str) -> bool:
    return variable.endswith(("SOURCES", "PROVIDERS", "__PROPERTIES", "__WORKFLOW"))


def _unknown_variable(name: str) -> str:
    known = [PREFIX + known.replace(".", "__").upper() for known in _names(Settings)]
    near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.6)
    return f"unknown setting {name} in the environment" + (f": did you mean {near[0]}?" if near else "")


def _explain(item: Mapping[str, Any], file: Path | None) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        names = [
            *_names(Settings),
            *(f"sources.*.{name}" for name in SourceSettings.model_fields),
            *(f"sources.*.secrets.*.{name}" for name in LabelledSecret.model_fields),
            *(f"retry.rules.*.{name}" for name in RetryRule.model_fields),
        ]
        own = where.split(".")
        # Where a name or number of the user's own stands.
        free = {"sources": (1, 3), "retry": (2,)}.get(own[0], ())
        parts = ["*" if at in free and at < len(own) - 1 else part for at, part in enumerate(own)]
        near = difflib.get_close_matches(".".join(parts), names, n=1, cutoff=0.6)
        hint = (
            ".".join(own[at] if part == "*" and at < len(own) else part for at, part in enumerate(near[0].split(".")))
            if near
            else None
        )
        return f"unknown setting {where!r}" + (f": did you mean {hint!r}?" if hint else "")
    # Pydantic's own text without the value: the value may be a secret.
    text = _PLAINER.get(item["type"]) or str(item["msg"]).removeprefix("Value error, ")
    own = item["loc"]
    if own[:1] == ("sources",) and own[2:] == ("[key]",):
        where, text = f"sources.{own[1]}", "a name is part of a URL: small letters, digits, - and _, 63 at most"
    elif own[:1] == ("sources",) and own[2:] == ("secrets",) and item["type"] in _NO_SECRETS:
        text = 'a source has a list of secrets, one at least: secrets = ["env:NAME"]'
    source = f" (in {file} or the environment)" if file else ""
    if not where:
        return text + source
    return f"setting {where!r}: {text}{source}"
