"""The whole configuration of a process."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tidegate.errors import UsageError
from tidegate.settings.ingest import IngestSettings, SourceSettings
from tidegate.settings.retry import RetrySettings
from tidegate.settings.secret import reveal
from tidegate.settings.sections import (
    ConsoleSettings,
    ConsumerSettings,
    EngagementSettings,
    PostgresSettings,
    StreamSettings,
)

PREFIX = "TIDEGATE_"


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
    providers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Providers of your own, in the words of those that Tidegate brings; see docs/providers/your-own.md."""

    @model_validator(mode="after")
    def _limits_fit_together(self) -> Self:
        """Refuse limits of which the wrong one would end first."""
        consumer, postgres, ingest = self.consumer, self.postgres, self.ingest
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
                (
                    ingest.wait_replicas_ms < ingest.append_seconds * 1000,
                    "ingest.wait_replicas_ms must be shorter than ingest.append_seconds, which it is part of",
                ),
                (
                    ingest.retry_after_seconds <= ingest.retry_after_seconds_max,
                    "ingest.retry_after_seconds must not be longer than ingest.retry_after_seconds_max",
                ),
                (
                    ingest.body_bytes_max <= min(ingest.received_bytes_max, ingest.pending_bytes_max),
                    "ingest.body_bytes_max must not be larger than ingest.received_bytes_max or ingest.pending_bytes_max: "
                    "the largest body would never find room",
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
