"""The secrets of the sources, by their labels: when each verified last, and whether it can be retired."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from dlq import readable
from tidegate import rotation
from tidegate.errors import UsageError
from tidegate.rotation import Standing
from tidegate.settings import Settings, SourceSettings
from tidegate.settings.secret import reveal
from tidegate.stream import SecretUses, Stream
from tidegate.stream.secret_uses import mark


async def load(stream: Stream, settings: Settings) -> dict[str, list[Standing]]:
    """Return how the secrets of each source stand, that of sources that are not configured (any more) too."""
    uses = await SecretUses(stream.client, settings.stream.prefix).load()
    now_ms = time.time_ns() // 1_000_000
    found: dict[str, list[Standing]] = {}
    for name in settings.sources.keys() | uses.keys():
        source = settings.sources.get(name)
        configured = _configured(name, source) if source is not None else []
        retire_ms = source.retire_seconds * 1000 if source is not None else 0
        found[name] = rotation.standings(configured, uses.get(name, []), retire_ms=retire_ms, now_ms=now_ms)
    return found


def _configured(name: str, source: SourceSettings) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for secret in source.secrets:
        try:
            found.append((secret.label, mark(name, reveal(secret.value, f"sources.{name}.secrets"))))
        except UsageError:  # only the gate need hold it
            found.append((secret.label, None))
    return found


def retirable(standings: Sequence[Standing], now: datetime) -> list[str]:
    """Return a sentence for each secret that can be taken out of the settings."""
    return [f"{one.label} is {says(one, now)}" for one in standings if one.verdict == "retire"]


def says(one: Standing, now: datetime) -> str:
    """Return what is to be done about a secret, and why."""
    use, now_ms = one.use, now.timestamp() * 1000
    if one.verdict == "removed":
        still = use is not None and now_ms - use.held_ms < rotation.HELD_MS
        return "not in the settings" + (", but a gate still has it: reload the gates" if still else " any more")
    if use is None:
        return "no evidence yet: no gate has told of it"
    if one.verdict == "no_evidence":
        return "no evidence yet"
    if one.verdict == "unseen":
        return f"not used in {_span(one.witnessed_ms)} while others were: retire it only if it is the old one"
    unused_ms = max(0.0, now_ms - (use.last_ms or 0))
    unused = f"unused for {_span(unused_ms)}"
    if one.verdict == "in_use":
        return "in use" if unused_ms < rotation.CALM_MS else "the last one that verified: keep it"
    if one.verdict == "retire":
        return f"{unused}: safe to retire"
    if one.witnessed_ms >= one.needed_ms:
        return f"{unused}, but only {use.since:,} requests came since: wait for {rotation.REQUESTS_MIN}"
    if one.safe_at_ms is not None and one.safe_at_ms > now_ms:
        return f"{unused}: wait until {_at(one.safe_at_ms)}"
    return f"{unused}, but others verified for only {_span(one.witnessed_ms)} of it: wait for {_span(one.needed_ms)}"


def evidence(one: Standing, now: datetime) -> str:
    """Return what that is judged by. Nothing is said of the time before the record."""
    use = one.use
    if use is None:
        return "nothing on record"
    since = f"since {_date(use.known_ms)}"
    if use.last_ms is None:
        sent = f" but for {use.count:,} that we sent ourselves" if use.count else ""
        return f"never verified a request{sent} {since}"
    last_ms = max(0.0, now.timestamp() * 1000 - use.last_ms)
    requests = f"{use.count:,} request{'s' if use.count != 1 else ''}"
    return f"verified {requests} {since}, the last {_span(last_ms)} ago"


def as_dict(one: Standing, now: datetime) -> dict[str, Any]:
    """Return it as plain values, for JSON. Times are ISO 8601, null where there is none."""
    use = one.use
    return {
        "label": one.label,
        "verdict": one.verdict,
        "says": says(one, now),
        "requests": 0 if use is None else use.count,
        "requests_since": None if use is None else use.since,
        "first": None if use is None else _iso(use.first_ms),
        "last": None if use is None else _iso(use.last_ms),
        "known_since": None if use is None else _iso(use.known_ms),
        "held_by_a_gate": None if use is None else _iso(use.held_ms),
        "witnessed_seconds": one.witnessed_ms // 1000,
        "needed_seconds": one.needed_ms // 1000,
        "safe_at": _iso(one.safe_at_ms),
    }


def _span(milliseconds: float) -> str:
    """Return a time in whole units, never more than it was: it is what a secret is retired by."""
    for size_ms, unit in ((86_400_000, "days"), (3_600_000, "hours")):
        if milliseconds >= 2 * size_ms:
            return f"{milliseconds // size_ms:,.0f} {unit}"
    return readable.duration(milliseconds)


def _time(unix_ms: float) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


def _date(unix_ms: float) -> str:
    return f"{_time(unix_ms):%Y-%m-%d}"


def _at(unix_ms: float) -> str:
    return f"{_time(unix_ms):%Y-%m-%d %H:%M} UTC"


def _iso(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else _time(unix_ms).isoformat(timespec="seconds")
