"""Every setting: its meaning, unit and default. The environment is read here and nowhere else.

Order of precedence: arguments, environment (`TIDEGATE_<NAME>`, `TIDEGATE_<SECTION>__<NAME>`), tidegate.toml, default.
A value `env:NAME` or `file:/path` where a secret is expected is read from there by the process that uses it.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tidegate.errors import UsageError

PREFIX = "TIDEGATE_"
DEFAULT_FILE = Path("tidegate.toml")
_NOT_SETTINGS = ("TIDEGATE_CONFIG", "TIDEGATE_TEST_", "TIDEGATE_EMBEDDED_")
"""Variables that share the prefix but choose a file, steer the tests, or locate embedded servers."""


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


Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SourceSettings(_Section):
    provider: str
    """Which adapter reads this source: hubspot, lemlist, standard-webhooks, svix."""
    secrets: Annotated[list[SecretStr], Field(min_length=1)]
    """Any of them verifies, so that one can be rotated without losing an event."""
    public_url: str | None = None
    """The URL the provider was given, for those that sign it. Without it the URL is rebuilt from the Host header."""
    tolerance_seconds: Annotated[int, Field(ge=1)] = 300
    """How far a signed timestamp may be from our clock, either way."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What this provider's adapter wants beyond that; see docs/providers.md."""

    def read_secrets(self, name: str) -> list[str]:
        """Return the secrets of the source called ``name``; raise UsageError for one that is not where it should be."""
        return [reveal(secret, f"sources.{name}.secrets") for secret in self.secrets]


class StreamSettings(_Section):
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")] = "tg"
    """First part of every Redis key: two deployments may share a Redis."""
    shards: Annotated[int, Field(ge=1, le=256)] = 1
    """Streams to spread over. Changing it while events wait strands them: drain first."""
    backlog_max: Annotated[int, Field(ge=0)] = 1_000_000
    """Entries waiting on one shard, retries included, above which the gate answers 503. 0: no limit, Redis' memory is."""
    seen_seconds: Annotated[int, Field(ge=2)] = 86_400
    """How long the gate remembers an event (at least half of this), at about 64 bytes each in Redis. Longer: fewer duplicates
    travel to Postgres, which knows them anyway."""
    timeout_seconds: Seconds = 5.0
    """Limit of one call to Redis, and of repeating one whose answer was lost."""


class PostgresSettings(_Section):
    pool_max: Count = 8
    """Connections of one process. A worker needs its concurrency plus two."""
    connect_timeout_seconds: Seconds = 5.0
    statement_timeout_ms: Annotated[int, Field(ge=1)] = 30_000
    lock_timeout_ms: Annotated[int, Field(ge=1)] = 10_000
    idle_in_transaction_timeout_ms: Annotated[int, Field(ge=1)] = 60_000
    """Above this Postgres ends a transaction whose worker hangs, so that its locks do not."""


class IngestSettings(_Section):
    host: str = "0.0.0.0"  # noqa: S104 - a gate that listens on loopback only receives nothing
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes sharing the port."""
    body_bytes_max: Annotated[int, Field(ge=1024)] = 2_097_152
    """Larger bodies are answered 413 before they are read to the end."""
    events_max: Count = 1000
    """Events in one request."""
    pending_max: Count = 10_000
    """Events of this process waiting for Redis' answer; above it, 503."""
    append_events_max: Count = 256
    """Events in one append."""
    retry_after_seconds: Count = 5
    """What a 503 asks the provider to wait."""
    drain_seconds: Seconds = 20.0
    """How long a stopping gate lets requests finish."""


class ConsumerSettings(_Section):
    handlers: str | None = None
    """MODULE:HANDLERS; None: the built-in engagement read model."""
    batch: Annotated[int, Field(ge=1, le=5000)] = 500
    """Deliveries in one transaction, at most."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 2
    """Batches in work at once."""
    block_ms: Annotated[int, Field(ge=10, le=60_000)] = 1000
    """How long a read waits for a first entry."""
    lease_seconds: Seconds = 15.0
    """An entry nobody renewed for this long is taken over by another worker."""
    drain_seconds: Seconds = 30.0
    """How long a stopping worker may finish its batches before it hands them back."""
    reconnect_seconds: Seconds = 300.0
    """A worker that lost Redis or Postgres for this long exits with code 3."""
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9464


class RetrySettings(_Section):
    delays_seconds: Annotated[list[Annotated[float, Field(ge=0)]], Field(max_length=50)] = [
        5,
        15,
        60,
        300,
        900,
        3600,
    ]
    """Wait before the second attempt, the third, ...; after the last the delivery is dead."""
    jitter_ms: Annotated[int, Field(ge=0)] = 1000
    """Up to this much is added, so that what failed together does not come back together."""


class ConsoleSettings(_Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8081


class HubSpotMapping(_Section):
    properties: dict[str, str] = Field(
        default_factory=lambda: {
            "hs_email_last_send_date": "sent",
            "hs_email_last_open_date": "opened",
            "hs_email_last_click_date": "clicked",
            "hs_sales_email_last_opened": "opened",
            "hs_sales_email_last_clicked": "clicked",
            "hs_sales_email_last_replied": "replied",
            "hs_email_bounce": "bounced",
            "hs_email_optout": "unsubscribed",
        }
    )
    """Contact property whose change stands for an action -> that action."""
    workflow: dict[str, str] = Field(
        default_factory=lambda: {
            name: name for name in ("sent", "opened", "clicked", "replied", "bounced", "unsubscribed", "failed")
        }
    )
    """Type of a workflow webhook (after `workflow.`) -> action."""
    workflow_contact: str = "contactId"
    """Path of the contact's id in a workflow webhook's body."""
    workflow_enrollment: str = "enrollmentId"
    """Path of our own enrollment's id in it, where the workflow names one."""


class EngagementSettings(_Section):
    hubspot: HubSpotMapping = Field(default_factory=HubSpotMapping)


class Settings(BaseSettings):
    """The whole configuration of a process."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    redis_url: SecretStr | None = None
    """redis://, rediss:// or unix://"""
    postgres_url: SecretStr | None = None
    """libpq URL"""
    admin_token: SecretStr | None = None
    """Bearer token of the admin API and console; without it they refuse to start."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] | None = None
    """None: for people on a terminal, else JSON."""

    stream: StreamSettings = Field(default_factory=StreamSettings)
    postgres: PostgresSettings = Field(default_factory=PostgresSettings)
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    consumer: ConsumerSettings = Field(default_factory=ConsumerSettings)
    retry: RetrySettings = Field(default_factory=RetrySettings)
    console: ConsoleSettings = Field(default_factory=ConsoleSettings)
    engagement: EngagementSettings = Field(default_factory=EngagementSettings)
    sources: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")], SourceSettings] = Field(
        default_factory=dict
    )

    def require_redis(self) -> str:
        """Return the Redis URL; raise UsageError naming the variable when there is none."""
        if self.redis_url is None:
            raise UsageError(
                "no Redis: set TIDEGATE_REDIS_URL (or redis_url in tidegate.toml), e.g. redis://localhost:6379"
            )
        return reveal(self.redis_url, "redis_url")

    def require_postgres(self) -> str:
        """Return the Postgres URL; raise UsageError naming the variable when there is none."""
        if self.postgres_url is None:
            raise UsageError(
                "no Postgres: set TIDEGATE_POSTGRES_URL (or postgres_url in tidegate.toml), "
                "e.g. postgresql://tidegate@localhost/tidegate"
            )
        return reveal(self.postgres_url, "postgres_url")


def load(path: Path | None = None, **arguments: Any) -> Settings:
    """Read the settings; raise UsageError listing everything that is wrong, a line each.

    ``path`` None means `TIDEGATE_CONFIG`, else `./tidegate.toml` if it is there. ``arguments`` override both.
    """
    given = path or (Path(os.environ["TIDEGATE_CONFIG"]) if os.environ.get("TIDEGATE_CONFIG") else None)
    if given is not None and not given.is_file():
        raise UsageError(f"settings file {given} does not exist")
    file = given or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)

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
    return variable.endswith(("SOURCES", "__PROPERTIES", "__WORKFLOW"))


def _unknown_variable(name: str) -> str:
    known = [PREFIX + known.replace(".", "__").upper() for known in _names(Settings)]
    near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.6)
    return f"unknown setting {name} in the environment" + (f": did you mean {near[0]}?" if near else "")


def _explain(item: Mapping[str, Any], file: Path | None) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        names = [*_names(Settings), *(f"sources.*.{name}" for name in SourceSettings.model_fields)]
        parts = where.split(".")
        if parts[0] == "sources" and len(parts) > 2:
            parts[1] = "*"
        near = difflib.get_close_matches(".".join(parts), names, n=1, cutoff=0.6)
        hint = near[0] if near else None
        if hint and parts[0] == "sources":
            hint = hint.replace("*", where.split(".")[1])
        return f"unknown setting {where!r}" + (f": did you mean {hint!r}?" if hint else "")
    # Pydantic's own text without the value: the value may be a secret.
    text = str(item["msg"]).removeprefix("Value error, ")
    source = f" (in {file} or the environment)" if file else ""
    return f"setting {where!r}: {text}{source}"
