"""What is known of each source: from the settings, the ledger, and the pauses."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from dlq import audit
from tidegate import ledger
from tidegate.cli import source_secrets
from tidegate.errors import UsageError
from tidegate.rotation import Standing
from tidegate.settings import Settings, SourceSettings
from tidegate.stream import Pause, Pauses, Stream

State = Literal["taking", "refusing", "holding", "unconfigured"]


@dataclass(frozen=True, slots=True)
class SourceState:
    """One source. ``settings`` is None for one that is not configured (any more) but has left something behind.

    ``counts`` is its row of the ledger; ``held`` how many deliveries wait until it is resumed; ``secrets`` how
    those stand that it has, or had.
    """

    name: str
    settings: SourceSettings | None
    pause: Pause | None
    counts: Mapping[str, int]
    held: int
    secrets: list[Standing]

    @property
    def path(self) -> str:
        return f"/webhooks/{self.name}"

    @property
    def state(self) -> State:
        if self.pause is not None:
            return "refusing" if self.pause.mode == "refuse" else "holding"
        return "taking" if self.settings is not None else "unconfigured"

    @property
    def waiting(self) -> int:
        """How many deliveries are on the streams; a letter that stands for a deleted one bears no source to count it by."""
        came = sum(self.counts.get(name, 0) for name in ledger.IN)
        return max(0, came - sum(self.counts.get(name, 0) for name in ledger.OUT))

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON; of its secrets how many there are, and what they are called."""
        settings, pause, now = self.settings, self.pause, datetime.now(UTC)
        return {
            "name": self.name,
            "state": self.state,
            "configured": settings is not None,
            "provider": None if settings is None else settings.provider,
            "path": self.path,
            "public_url": None if settings is None else settings.public_url,
            "secrets": None if settings is None else len(settings.secrets),
            "secret_uses": [source_secrets.as_dict(one, now) for one in self.secrets],
            "tolerance_seconds": None if settings is None else settings.tolerance_seconds,
            "rate_per_second": None if settings is None else settings.rate_per_second,
            "burst": None if settings is None else settings.burst,
            "pause": None
            if pause is None
            else {"mode": pause.mode, "since": since(pause).isoformat(timespec="seconds"), "why": pause.why},
            **{name: self.counts.get(name, 0) for name in (*ledger.IN, *ledger.OUT)},
            "waiting": self.waiting,
            "held": self.held,
        }


def since(pause: Pause) -> datetime:
    return datetime.fromtimestamp(pause.since_ms / 1000, UTC)


async def load(stream: Stream, settings: Settings) -> dict[str, SourceState]:
    """Return the sources that are configured, then those that only left something behind, each in order of name."""
    counts = ledger.by_source(await audit.shards(stream))
    pauses = await Pauses(stream.client, settings.stream.prefix).load()
    secrets = await source_secrets.load(stream, settings)
    names = [*sorted(settings.sources), *sorted((counts.keys() | pauses.keys()) - settings.sources.keys())]
    return {
        name: SourceState(
            name,
            settings.sources.get(name),
            pauses.get(name),
            counts.get(name, {}),
            await stream.held(name),
            secrets.get(name, []),
        )
        for name in names
    }


def unknown(name: str, known: Iterable[str]) -> UsageError:
    """Return what to say of a name that no source has."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, cutoff=0.5)
    hint = f": did you mean {' or '.join(near)}?" if near else f"; there are: {', '.join(names) or 'none'}"
    return UsageError(f"no source {name!r} in the settings{hint}")
