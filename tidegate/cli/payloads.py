"""What is posted in a provider's name: one of its samples, or somebody's own body with the headers that go with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.adapters import samples
from ingest.adapters.declaration import Declaration

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Payload:
    """A body, and the headers beside those of a signature."""

    body: bytes
    headers: Pairs = ()


def sample(words: Declaration, *, event_type: str | None = None, headers: Pairs = ()) -> Payload:
    """Return a new sample of ``event_type``, the first one where None; ``headers`` go before its own.

    Raises UsageError where there is none.
    """
    found = samples.sample(words, event_type=event_type)
    # Named, for otherwise the first sample's would be taken: an event of another type may come as a form.
    kind = "application/json" if words.content_types[0] == "+json" else words.content_types[0]
    return Payload(found.body, _over(_over([("Content-Type", kind)], found.headers), headers))


def of_file(words: Declaration, body: bytes, *, event_type: str | None = None, headers: Pairs = ()) -> Payload:
    """Return ``body`` with the headers of a sample of ``event_type``; where None whoever signs takes the first one's."""
    if event_type is None:
        return Payload(body, headers)
    return Payload(body, sample(words, event_type=event_type, headers=headers).headers)


def _over(below: Pairs, above: Pairs) -> list[tuple[str, str]]:
    given = {name.lower() for name, _ in above}
    return [*(pair for pair in below if pair[0].lower() not in given), *above]
