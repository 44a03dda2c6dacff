"""What the providers will send, in order, and what must come of it. Seeded: the same bytes for the same options."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ingest.adapters.base import Parsed
from tidegate.cli import traffic
from tidegate.cli.traffic import Post

NOW = datetime(2026, 1, 2, tzinfo=UTC)
"""Fixed, or a seed would not give the same bytes. Events may be old; what is checked is when they were signed."""
OWN_SHARE = 0.1
LATE_SHARE = 0.3
"""Of enrollments, which are announced after the first event that needs them."""
LATE_POSTS_MAX = 400
"""How many posts later, at most, a late enrollment or a repetition comes: each orphan is tried again and again meanwhile."""
DUPLICATE_SHARE = 0.1
DEADLY_EVERY = 50_000
"""Events to one that takes its workers down, one after the other, until it is tried alone."""

_OWN = (
    ("chaos.plain", 50),
    ("chaos.retried", 30),
    ("chaos.failing", 14),
    ("chaos.rejected", 3),
    ("chaos.exhausted", 3),
)
_HOPELESS = ("chaos.rejected", "chaos.exhausted", "chaos.deadly")
_REFERENCE = re.compile(rb'"leadId":"lea_0*(\d+)"|"(?:objectId|contactId)":(\d+)')
_CONTACT = 173_595_000_000


@dataclass(frozen=True, slots=True)
class Fate:
    """How an event must end: ``applied``, ``ignored`` or ``letter``; and whether it leaves a row in ``effects``."""

    end: str
    effect: bool = False


@dataclass(frozen=True, slots=True)
class Feed:
    """``posts`` in the order they are first sent; ``metrics``: the count of each (campaign, action) at the end."""

    posts: list[Post]
    metrics: Counter[tuple[str, str]]
    events: int
    """In all posts, repeated ones included."""


def make(events: int, *, seed: int) -> Feed:
    """Return about ``events`` distinct events: engagement and the suite's own, orphans, poison, duplicates."""
    chance = random.Random(seed)
    own = int(events * OWN_SHARE)
    poison = max(2, events // 2000)
    made = traffic.make(
        events - own,
        seed=seed,
        campaigns=16,
        duplicates=DUPLICATE_SHARE,
        orphans=LATE_SHARE,
        poison=poison,
        now=NOW,
    )
    posts = made.opening + _with_parents_near(made.posts, chance)
    posts = _spread(posts, [_own(number, chance) for number in range(own)], chance)
    for number in range(events // DEADLY_EVERY):
        # Neither first nor last: workers must die of it under traffic, and the run must not end with waiting for that.
        posts.insert(int(len(posts) * chance.uniform(0.1, 0.7)), _post(number, "chaos.deadly", 0, ""))
    return Feed(posts, made.metrics, sum(post.events for post in posts))


def fate(parsed: Parsed) -> Fate:
    """Return how an event must end that the gate cut out of a post of ours."""
    kind = parsed.event_type
    if parsed.malformed or rb"\u0000" in parsed.payload or kind in _HOPELESS:
        return Fate("letter")
    if kind == "hooked":
        return Fate("ignored")
    return Fate("applied", effect=not kind.startswith(("campaign.", "enrollment.")))


def _own(number: int, chance: random.Random) -> Post:
    kind = chance.choices([name for name, _ in _OWN], [weight for _, weight in _OWN])[0]
    return _post(number, kind, chance.randint(1, 3), "x" * chance.randrange(400))


def _post(number: int, kind: str, times: int, text: str) -> Post:
    at = (NOW - timedelta(seconds=number % 3600)).isoformat().replace("+00:00", "Z")
    body = {"type": kind, "timestamp": at, "data": {"times": times, "text": text}}
    return Post("crm", json.dumps(body).encode(), f"msg_{kind.replace('.', '_')}_{number}")


def _spread(posts: list[Post], own: list[Post], chance: random.Random) -> list[Post]:
    """Put ``own`` between ``posts``, and some of them once more, soon after."""
    placed = [(float(position), post) for position, post in enumerate(posts)]
    for post in own:
        position = chance.uniform(0, len(posts))
        placed.append((position, post))
        if chance.random() < DUPLICATE_SHARE:
            placed.append((position + chance.uniform(0, LATE_POSTS_MAX), post))
    return [post for _, post in sorted(placed, key=lambda item: item[0])]


def _with_parents_near(posts: list[Post], chance: random.Random) -> list[Post]:
    """Move each late enrollment to soon after the first event that waits for it.

    In a run of minutes orphans would else wait so long that the schedule of retries ends first, and rightly.
    """
    first: dict[int, int] = {}
    for position, post in enumerate(posts):
        if post.source != "crm":
            for lead, contact in _REFERENCE.findall(post.body):
                first.setdefault(int(lead) if lead else int(contact) - _CONTACT, position)
    placed: list[tuple[float, Post]] = []
    for position, post in enumerate(posts):
        number = post.message_id.removeprefix("msg_enrollment_")
        if post.source == "crm" and number.isdecimal() and int(number) in first:
            placed.append((first[int(number)] + chance.uniform(0.5, LATE_POSTS_MAX), post))
        else:
            placed.append((position, post))
    return [post for _, post in sorted(placed, key=lambda item: item[0])]
