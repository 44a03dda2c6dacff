"""Whether a secret can be retired: decided from what is on record of it and of the others of its source.

Taken out too early, a secret costs events: what the provider still signs with it is refused. So silence alone is no
proof. A secret is safe to retire when, since it last verified,

- others verified for longer than the provider repeats an event (`retire_seconds`): a repetition may bear the old signature;
- and for longer than twice the longest silence it ever came back from: some are used once a week;
- and so for at least REQUESTS_MIN requests: a source where nothing comes tells nothing.

Only the time with traffic counts, up to the last request that another one verified. One that verified last of all is never
safe, so that there is always one left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tidegate.stream import SecretUse

REQUESTS_MIN = 10
"""While one request in four still bears an old secret's signature, ten in a row without one are rarer than one in seventeen."""
CALM_MS = 3_600_000
"""A secret that verified within the last hour is in use, whatever came since."""
SILENCES = 2
HELD_MS = 180_000
"""Gates say once a minute which secrets they have; one that was not told of for so long no gate has any more."""

Verdict = Literal[
    "in_use",  # it verified last, or within the hour
    "waiting",  # others do, but not for long enough
    "retire",  # safe to take out of the settings
    "unseen",  # never on record, while others verified for as long as it takes: old, or not used yet
    "no_evidence",  # never on record, and that says nothing yet
    "removed",  # not in the settings
]


@dataclass(frozen=True, slots=True)
class Standing:
    """One secret and what is to be done about it. Times in Unix milliseconds.

    ``use`` is None where no gate has told of it yet. ``witnessed_ms``: for how long others verified since it last did, or where
    it never did, since it is known. ``needed_ms``: how long that has to be.
    """

    label: str
    verdict: Verdict
    use: SecretUse | None
    witnessed_ms: int
    needed_ms: int

    @property
    def safe_at_ms(self) -> int | None:
        """When it is safe at the earliest, if others go on; None where there is nothing to wait for."""
        if self.verdict != "waiting" or self.use is None or self.use.last_ms is None:
            return None
        return self.use.last_ms + self.needed_ms


def standings(
    configured: Sequence[tuple[str, str | None]], uses: Sequence[SecretUse], *, retire_ms: int, now_ms: int
) -> list[Standing]:
    """Return how the secrets of one source stand: those ``configured``, in order, then others that verified.

    ``configured`` are labels and marks; a mark is None where the secret cannot be read here. Then its label has to do.
    """
    by_mark = {use.mark: use for use in uses}
    known = {mark for _, mark in configured if mark is not None}
    found: list[tuple[str, SecretUse | None]] = []
    for label, mark in configured:
        if mark is None:
            called = [use for use in uses if use.label == label and use.mark not in known]
            found.append((label, max(called, key=lambda use: use.held_ms, default=None)))
        else:
            found.append((label, by_mark.get(mark)))
    kept = {use.mark: use for _, use in found if use is not None}
    judged = [_judged(label, use, kept.values(), retire_ms=retire_ms, now_ms=now_ms) for label, use in found]
    gone = [use for use in uses if use.mark not in kept and use.count]
    return [*judged, *(Standing(use.label, "removed", use, 0, 0) for use in gone)]


def _judged(label: str, use: SecretUse | None, kept: Iterable[SecretUse], *, retire_ms: int, now_ms: int) -> Standing:
    if use is None:
        return Standing(label, "no_evidence", None, 0, retire_ms)
    needed_ms = max(retire_ms, SILENCES * use.silence_ms)
    others = [other.last_ms for other in kept if other.mark != use.mark and other.last_ms is not None]
    start_ms = use.known_ms if use.last_ms is None else use.last_ms
    witnessed_ms = max(0, max(others, default=0) - start_ms)
    is_proven = witnessed_ms >= needed_ms and use.since >= REQUESTS_MIN
    if use.last_ms is None:
        verdict: Verdict = "unseen" if is_proven else "no_evidence"
    elif not witnessed_ms or now_ms - use.last_ms < CALM_MS:
        verdict = "in_use"
    else:
        verdict = "retire" if is_proven else "waiting"
    return Standing(label, verdict, use, witnessed_ms, needed_ms)
