"""The demo's traffic must be what it says it is, whatever the seed: a demo that fails by chance proves nothing."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from ingest import adapters
from ingest.adapters.base import Request
from tidegate.cli import traffic

SECRETS = {"crm": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "lemlist": "whk_x", "hubspot": "secret"}
PROVIDERS = {"crm": "standard-webhooks", "lemlist": "lemlist", "hubspot": "hubspot"}


@pytest.mark.parametrize("seed", range(20))
def test_its_own_counts_are_right(seed: int) -> None:
    made = traffic.make(300, seed=seed, forgotten=3, poison=6, forged=4)
    names: Counter[tuple[str, str]] = Counter()
    malformed = 0
    for post in (*made.opening, *made.posts, *made.mending):
        if post.forged:
            continue
        adapter = adapters.build(PROVIDERS[post.source], [SECRETS[post.source]])
        headers, body = adapter.sign(post.body, url="https://x/", now_seconds=1, message_id=post.message_id)
        lower = [(name.lower(), value) for name, value in headers]
        for item in adapter.split(Request("POST", "https://x/", lower, body)):
            names[post.source, item.provider_event_id] += 1
            malformed += item.malformed is not None
    assert len(names) == made.distinct
    assert names.total() == made.sent
    assert malformed == 3
    assert sum(post.forged for post in made.posts) == made.forged == 4
    assert made.metrics.total() == 300 + made.forgotten


def test_the_same_seed_is_the_same_traffic() -> None:
    first, second = (traffic.make(200, seed=5, now=None) for _ in range(2))
    assert [post.message_id for post in first.posts] == [post.message_id for post in second.posts]
    assert first.metrics == second.metrics


def test_it_holds_duplicates_orphans_and_events_that_restate_others() -> None:
    made = traffic.make(1000, seed=1)
    announced = [index for index, post in enumerate(made.posts) if post.source == "crm"]
    assert len(announced) == 10
    assert min(announced) >= len(made.posts) // 2 - 1
    assert 0.05 < (made.sent - made.distinct) / made.distinct < 0.15
    kinds = Counter(json.loads(post.body)["type"] for post in made.posts if post.source == "lemlist")
    assert kinds["hooked"]
