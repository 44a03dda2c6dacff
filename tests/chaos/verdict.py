"""What was promised, against what is there when all is quiet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.feed import Fate, Feed
from tests.chaos.provider import Identity, Provider
from tests.chaos.system import System
from tidegate.stream.keys import GROUP, NOBODY

SHOWN = 5
TOLERATED: dict[str, str] = {}
"""Text in a log line with a traceback -> why it may be there. Nothing is tolerated so far."""


@dataclass(slots=True)
class Verdict:
    """``problems`` is empty when every promise was kept; the numbers are for the table."""

    problems: list[str] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    unaccounted: int = 0
    applied: int = 0
    ignored: int = 0
    letters: Counter[str] = field(default_factory=Counter)
    ledger: dict[str, Any] = field(default_factory=dict)
    innocents: list[Identity] = field(default_factory=list)
    """Events that harm nobody and are letters `crash_loop`. A SIGKILL in the middle of their trial alone is taken for theirs:
    hence no problem by itself, but worth a look at the logs."""

    def _blame(self, what: str, which: Iterable[object]) -> int:
        found = list(which)
        if found:
            some = ", ".join(map(str, found[:SHOWN])) + (", ..." if len(found) > SHOWN else "")
            self.problems.append(f"{len(found)} {what}: {some}")
        return len(found)

    def judge_events(self, accepted: Mapping[Identity, Fate], there: There) -> None:
        """Every event accepted is in one place, in the right one, with its effect once."""
        self.lost = self._blame(
            "accepted events are lost",
            (name for name in accepted if name not in there.events and name not in there.letters),
        )
        self._blame("events were applied and are letters", there.events.keys() & there.letters.keys())
        self._blame(
            "events are stored that nobody was told of", (name for name in there.events if name not in accepted)
        )
        wrong: list[str] = []
        for name, fate in accepted.items():
            outcome, letter = there.events.get(name), there.letters.get(name)
            if letter == "crash_loop" and fate.end != "letter":
                self.innocents.append(name)
            elif letter is not None and fate.end != "letter":
                wrong.append(f"{name} should be {fate.end} and is a letter, {letter}")
            elif outcome is not None and outcome != fate.end:
                wrong.append(f"{name} should be {fate.end} and is {outcome}")
        self._blame("events ended wrongly", wrong)
        wanted = {name for name, fate in accepted.items() if fate.effect and name in there.events}
        self.doubled = self._blame("effects happened twice", (name for name, n in there.effects.items() if n > 1))
        self._blame("events were applied without their effect", wanted - there.effects.keys())
        self._blame("effects have no event", there.effects.keys() - there.events.keys())
        self.applied = sum(outcome == "applied" for outcome in there.events.values())
        self.ignored = len(there.events) - self.applied
        self.letters = Counter(there.letters.values())

    def judge_metrics(self, feed: Feed, there: There) -> None:
        """The counters are what the providers know: it fails only where innocents died."""
        differing = {
            key for key in feed.metrics.keys() | there.metrics.keys() if feed.metrics[key] != there.metrics[key]
        }
        excess = {key for key in differing if there.metrics[key] > feed.metrics[key]}
        if excess or (differing and not self.innocents):
            self._blame(
                "campaign counters differ",
                (f"{key} is {there.metrics[key]}, not {feed.metrics[key]}" for key in sorted(differing)),
            )

    async def judge_streams(self, system: System) -> None:
        """The ledger balances; nothing is left in the inbox or on the streams, or pending for anybody."""
        self.ledger = await system.audit()
        self.unaccounted = int(self.ledger["unaccounted"])
        if self.unaccounted:
            self.problems.append(f"tidegate audit: {self.unaccounted} unaccounted: {self.ledger}")
        boxed = self.ledger["inbox"]["counted_rows"]
        if boxed:
            self.problems.append(f"{boxed} events are left in the inbox")
        for keys in system.stream.keys:
            due = await system.stream.client.zcard(keys.due)
            if due:
                self.problems.append(f"{due} due times without their retries in {keys.due}")
            for consumer in await system.stream.client.xinfo_consumers(keys.events, GROUP):
                if consumer["pending"]:
                    name = consumer["name"].decode()
                    whose = "handed back" if name == NOBODY else f"of {name}"
                    self.problems.append(f"{consumer['pending']} pending {whose} in {keys.events}")

    def judge_logs(self, folder: Path) -> None:
        """No process of ours stumbled over something nobody had thought of."""
        found = [
            f"{path.name}: {_short(line)}"
            for path in sorted(folder.glob("*.log"))
            for line in path.read_text("utf-8", "replace").splitlines()
            if "Traceback (most recent call last)" in line and not any(text in line for text in TOLERATED)
        ]
        self._blame("tracebacks in the logs", found)


@dataclass(slots=True)
class There:
    """What Postgres holds."""

    events: dict[Identity, str]
    letters: dict[Identity, str]
    """Open letters by event -> reason."""
    effects: Counter[Identity]
    metrics: Counter[tuple[str, str]]


async def read(system: System) -> There:
    """Read all of it."""
    async with system.connected() as connection:

        async def rows(query: bytes) -> list[Any]:
            return await (await connection.execute(query)).fetchall()

        return There(
            {(a, b): outcome for a, b, outcome in await rows(b"SELECT source, provider_event_id, outcome FROM events")},
            {(a, b): why for a, b, why in await rows(b"SELECT source, provider_event_id, reason FROM dead_letters")},
            Counter({(a, b): n for a, b, n in await rows(b"SELECT *, count(*) FROM effects GROUP BY 1, 2")}),
            Counter(
                {(a, b): n for a, b, n in await rows(b"SELECT campaign_id, event_type, count FROM campaign_metrics")}
            ),
        )


async def judge(system: System, provider: Provider, feed: Feed) -> Verdict:
    """Compare everything; ``provider`` has sent all of ``feed``, and the streams are empty."""
    verdict = Verdict()
    there = await read(system)
    verdict.judge_events(provider.accepted, there)
    verdict.judge_metrics(feed, there)
    await verdict.judge_streams(system)
    verdict.judge_logs(system.folder)
    return verdict


def _short(line: str) -> str:
    """Return the last line of a traceback in a JSON log line, or the beginning of another line."""
    try:
        said = json.loads(line)
        return f"{said.get('event')}: {str(said.get('exception', '')).strip().splitlines()[-1]}"
    except (ValueError, IndexError, AttributeError):
        return line[:200]
