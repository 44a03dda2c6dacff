"""Every setting: its meaning, unit and default. The environment is read here and nowhere else.

Order of precedence: arguments, environment (`TIDEGATE_<NAME>`, `TIDEGATE_<SECTION>__<NAME>`), tidegate.toml, default.
A value `env:NAME` or `file:/path` where a secret is expected is read from there by the process that uses it.
"""

from tidegate.settings.ingest import IngestSettings, SourceSettings
from tidegate.settings.loading import load
from tidegate.settings.retry import RetryRule, RetrySettings
from tidegate.settings.secret import reveal
from tidegate.settings.sections import (
    ConsoleSettings,
    ConsumerSettings,
    EngagementSettings,
    HubSpotMapping,
    PostgresSettings,
    StreamSettings,
)
from tidegate.settings.whole import Settings

__all__ = [
    "ConsoleSettings",
    "ConsumerSettings",
    "EngagementSettings",
    "HubSpotMapping",
    "IngestSettings",
    "PostgresSettings",
    "RetryRule",
    "RetrySettings",
    "Settings",
    "SourceSettings",
    "StreamSettings",
    "load",
    "reveal",
]
