"""Every setting: its meaning, unit and default. The environment is read here and nowhere else.

Order of precedence: arguments, environment (`TIDEGATE_<NAME>`, `TIDEGATE_<SECTION>__<NAME>`), tidegate.toml, default.
A value `env:NAME` or `file:/path` where a secret is expected is read from there by the process that uses it.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tidegate.errors import UsageError
from tidegate.pattern import covers

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
    transaction_timeout_ms: Annotated[int, Field(ge=1)] = 120_000
    """A transaction of a batch that takes longer is cut off and repeated: the network to Postgres may have gone silent."""


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
    batch_bytes: Annotated[int, Field(ge=1024)] = 4_194_304
    """Bytes of them, at most; a single larger delivery is a batch of its own. A process holds several times this."""
    batch_target_seconds: Seconds = 2.0
    """Batches shrink until a transaction takes no longer than this, and grow again up to ``batch``."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 2
    """Batches in work at once."""
    prefetch: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Deliveries read ahead of the batches. More: fewer reads; but other workers cannot have what waits here."""
    held_bytes: Annotated[int, Field(ge=1024)] = 16_777_216
    """Bytes of deliveries in a worker's hands, in work and read ahead; above it nothing more is read."""
    linger_ms: Annotated[int, Field(ge=0, le=10_000)] = 5
    """How long a small batch waits to fill while another is in work; with none in work, never. 0: never."""
    block_ms: Annotated[int, Field(ge=10, le=60_000)] = 1000
    """How long a read waits for a first entry."""
    lease_seconds: Seconds = 15.0
    """An entry nobody renewed for this long is taken over by another worker."""
    deliveries_max: Annotated[int, Field(ge=2, le=100)] = 3
    """Which delivery of an entry, from workers that died holding it to the next, is tried alone; if that kills the worker too
    it is a letter, reason `crash_loop`."""
    event_seconds: Seconds = 20.0
    """How long a handler may take for one event; above it the attempt has failed. Keep it above postgres.lock_timeout_ms."""
    batch_seconds: Seconds = 25.0
    """How long the handlers of one transaction may take; above it the batch is halved."""
    hang_seconds: Seconds = 60.0
    """A handler that blocks the whole process, or will not be stopped, for this long ends it: others take over."""
    breaker_failures: Count = 3
    """So many failures of Postgres in a row pause this worker until a probe succeeds; wrong schema or rights do at once."""
    breaker_seconds_max: Seconds = 5.0
    """The longest wait between two probes; the first waits a second."""
    drain_seconds: Seconds = 30.0
    """How long a stopping worker may finish its batches before it hands them back."""
    handback_seconds: Seconds = 5.0
    """How long a stopping worker may take to hand back what it did not finish; what it cannot is taken over later."""
    drain_limit_seconds: Seconds = 7200.0
    """How long `consume --drain` goes on before it gives up; longer than the default retry schedule, which it waits for."""
    reconnect_seconds: Seconds = 300.0
    """A worker that lost Redis or Postgres for this long exits with code 3."""
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9464


def _none_if_unlimited(value: float | None) -> float | None:
    return None if value == math.inf else value


Delays = Annotated[list[Annotated[float, Field(ge=0, le=30 * 86_400)]], Field(max_length=50)]
Glob = Annotated[str, Field(min_length=1, max_length=500)]
MaxAge = Annotated[float | None, Field(gt=0), AfterValidator(_none_if_unlimited)]


class RetryRule(_Section):
    """What it leaves out is taken from [retry]."""

    source: Glob = "*"
    """Name of a source, or of a provider; `*`, `?` and `[]` as in file names."""
    type: Glob = "*"
    """Type of event, likewise."""
    delays_seconds: Delays = Field(default_factory=list)
    jitter_ms: Annotated[int, Field(ge=0)] = 0
    max_age_seconds: MaxAge = None
    """`inf`: no limit, whatever [retry] says."""

    def __str__(self) -> str:
        return f"source {self.source!r}, type {self.type!r}"


class RetrySettings(_Section):
    delays_seconds: Delays = [5, 15, 60, 300, 900, 3600]
    """Wait before the second attempt, the third, ...; after the last the delivery is dead."""
    jitter_ms: Annotated[int, Field(ge=0)] = 1000
    """Up to this much is added, so that what failed together does not come back together."""
    max_age_seconds: MaxAge = None
    """A delivery whose next attempt would be later than this after it was received is dead; None: no limit."""
    rules: list[RetryRule] = Field(default_factory=list)
    """Other values for some sources or types: the first rule that matches counts."""

    @field_validator("rules")
    @classmethod
    def _complete(cls, rules: list[RetryRule], info: ValidationInfo) -> list[RetryRule]:
        """Refuse rules that never apply, and take what the others leave out from the section."""
        hidden = []
        for number, rule in enumerate(rules):
            over = [one for one in rules[:number] if covers(one.source, rule.source) and covers(one.type, rule.type)]
            if over:
                first = f"rules.{rules.index(over[0])} ({over[0]})"
                hidden.append(f"rules.{number} ({rule}) never applies: {first} comes before it and takes all of it")
        if hidden:
            raise ValueError("; ".join(hidden))
        return [
            rule.model_copy(update={name: info.data[name] for name in info.data if name not in rule.model_fields_set})
            for rule in rules
        ]


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

    @model_validator(mode="after")
    def _limits_fit_together(self) -> Self:
        """Refuse limits of which the wrong one would end first."""
        consumer, postgres = self.consumer, self.postgres
        event_ms, batch_ms = consumer.event_seconds * 1000, consumer.batch_seconds * 1000
        wrong = [
            text
            for fits, text in (
                (
                    event_ms > postgres.lock_timeout_ms,
                    "consumer.event_seconds must be longer than postgres.lock_timeout_ms: else an event that waits for "
                    "another transaction's lock loses an attempt",
                ),
                (batch_ms >= event_ms, "consumer.batch_seconds must not be shorter than consumer.event_seconds"),
                (
                    batch_ms < postgres.idle_in_transaction_timeout_ms,
                    "consumer.batch_seconds must be shorter than postgres.idle_in_transaction_timeout_ms: else Postgres ends "
                    "the transaction of a slow handler before we can tell whose it is",
                ),
                (
                    max(batch_ms + event_ms, postgres.statement_timeout_ms) < postgres.transaction_timeout_ms,
                    "postgres.transaction_timeout_ms must be longer than postgres.statement_timeout_ms, and than "
                    "consumer.batch_seconds and consumer.event_seconds together",
                ),
            )
            if not fits
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

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
        names = [
            *_names(Settings),
            *(f"sources.*.{name}" for name in SourceSettings.model_fields),
            *(f"retry.rules.*.{name}" for name in RetryRule.model_fields),
        ]
        parts = where.split(".")
        free = {"sources": 1, "retry": 2}.get(parts[0], len(parts))  # where a name or number of the user's own stands
        if free < len(parts) - 1:
            parts[free] = "*"
        near = difflib.get_close_matches(".".join(parts), names, n=1, cutoff=0.6)
        hint = near[0] if near else None
        if hint and "*" in parts:
            hint = hint.replace("*", where.split(".")[free])
        return f"unknown setting {where!r}" + (f": did you mean {hint!r}?" if hint else "")
    # Pydantic's own text without the value: the value may be a secret.
    text = str(item["msg"]).removeprefix("Value error, ")
    source = f" (in {file} or the environment)" if file else ""
    if not where:
        return text + source
    return f"setting {where!r}: {text}{source}"
