"""Known traffic: what the company's CRM, Lemlist and HubSpot would send, and what must come of it.

Seeded, so that a failure can be had again. The sender's own count of each campaign and action is the truth that
`campaign_metrics` is compared with.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

ACTIONS = ("sent", "opened", "clicked", "replied", "bounced", "unsubscribed", "failed")
_WEIGHTS = (40, 30, 14, 8, 4, 3, 1)
_HUBSPOT = {
    "sent": "hs_email_last_send_date",
    "opened": "hs_email_last_open_date",
    "clicked": "hs_email_last_click_date",
    "replied": "hs_sales_email_last_replied",
    "bounced": "hs_email_bounce",
    "unsubscribed": "hs_email_optout",
}
_NAMES = ("Spring launch", "Win-back", "Product news", "Partner days", "Season's end", "Second try")
PORTAL = 62_515


@dataclass(frozen=True, slots=True)
class Post:
    """One request. ``events`` is how many events it holds; ``forged`` ones carry a wrong signature."""

    source: str
    body: bytes
    message_id: str
    events: int = 1
    forged: bool = False
    version: str = "v3"


@dataclass(frozen=True, slots=True)
class _Enrollment:
    number: int
    campaign: int

    @property
    def contact(self) -> int:
        return 173_595_000_000 + self.number

    @property
    def lead(self) -> str:
        return f"lea_{self.number:08d}"


@dataclass(slots=True)
class Traffic:
    """Posts in phases, and the truth. ``posts`` are shuffled; ``mending`` is sent after its events have died waiting."""

    opening: list[Post] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    mending: list[Post] = field(default_factory=list)
    metrics: Counter[tuple[str, str]] = field(default_factory=Counter)
    forgotten: int = 0
    """Events whose enrollment is only announced by ``mending``: each dies `orphaned` and is applied by its replay."""
    poison: int = 0
    """Events that can never be applied: letters with reason `invalid` or `malformed`."""
    forged: int = 0
    distinct: int = 0
    """Distinct events in all phases, poison included."""
    sent: int = 0
    """Events in all phases, repetitions included, forged ones not."""


def make(
    events: int,
    *,
    seed: int,
    campaigns: int = 4,
    duplicates: float = 0.1,
    orphans: float = 0.1,
    forgotten: int = 0,
    poison: int = 0,
    forged: int = 0,
    now: datetime | None = None,
) -> Traffic:
    """Return traffic of about ``events`` distinct engagement events.

    ``duplicates`` and ``orphans`` are shares of the events: sent again, and sent before their enrollment. ``forgotten``,
    ``poison`` and ``forged`` are numbers of events.
    """
    chance = random.Random(seed)
    at = (now or datetime.now(UTC)) - timedelta(hours=6)
    traffic = Traffic()
    enrollments = [_Enrollment(n, n % campaigns) for n in range(max(campaigns, events // 10))]
    late = set(chance.sample(range(len(enrollments)), int(len(enrollments) * orphans)))
    missing = _Enrollment(len(enrollments), 0)
    for campaign in range(campaigns):
        traffic.opening.append(_campaign(campaign, at))
    announcements: list[Post] = []
    for enrollment in enrollments:
        post = _enrollment(enrollment, at)
        (announcements if enrollment.number in late else traffic.opening).append(post)
    if forgotten:
        traffic.mending.append(_enrollment(missing, at))
    lemlist: list[Post] = []
    hubspot: list[bytes] = []
    workflow: list[Post] = []
    spoilt: list[bytes] = []
    for number in range(events):
        enrollment = chance.choice(enrollments)
        action = chance.choices(ACTIONS, _WEIGHTS)[0]
        when = at + timedelta(seconds=chance.uniform(60, 6 * 3600))
        traffic.metrics[f"c-{enrollment.campaign}", action] += 1
        way = chance.random()
        if way < 0.5 or action == "failed":
            lemlist.append(_lemlist(number, enrollment, action, when))
            if chance.random() < 0.1:  # restates the activity: must not be counted
                lemlist.append(_lemlist(number, enrollment, action, when, restated=True))
        elif way < 0.95:
            hubspot.append(_property(number, enrollment, action, when))
        else:
            workflow.append(_workflow(number, enrollment, action, when))
    for number in range(events, events + forgotten):
        traffic.metrics["c-0", "opened"] += 1
        traffic.forgotten += 1
        lemlist.append(_lemlist(number, missing, "opened", at + timedelta(hours=1)))
    for number in range(poison):
        _add_poison(number, chance.choice(enrollments), lemlist, spoilt, at)
        traffic.poison += 1
    traffic.distinct = (
        len(traffic.opening) + len(announcements) + len(lemlist) + len(hubspot) + len(workflow) + len(traffic.mending)
    ) + len(spoilt)
    lemlist += chance.sample(lemlist, int(len(lemlist) * duplicates))
    hubspot += [_again(item) for item in chance.sample(hubspot, int(len(hubspot) * duplicates))]
    workflow += chance.sample(workflow, int(len(workflow) * duplicates))
    hubspot += spoilt  # each once: without an id a repetition, whose attemptNumber differs, is another event
    chance.shuffle(hubspot)
    engagement = [*lemlist, *workflow, *_arrays(hubspot, chance)]
    chance.shuffle(engagement)
    for post in announcements:  # somewhere in the later half: what belongs to them is waiting by then
        engagement.insert(chance.randint(len(engagement) // 2, len(engagement)), post)
    traffic.sent = sum(post.events for post in (*traffic.opening, *engagement, *traffic.mending))
    for _ in range(forged):
        victim = chance.choice(engagement)
        false = Post(victim.source, victim.body, victim.message_id, victim.events, True, victim.version)
        engagement.insert(chance.randrange(len(engagement)), false)
        traffic.forged += 1
    traffic.posts = engagement
    return traffic


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ms(when: datetime) -> int:
    return int(when.timestamp() * 1000)


def _campaign(number: int, at: datetime) -> Post:
    data = {
        "campaign_id": f"c-{number}",
        "name": _NAMES[number % len(_NAMES)],
        "refs": {"lemlist": f"cam_{number:04d}"},
    }
    body = _dump({"type": "campaign.created", "timestamp": _iso(at), "data": data})
    return Post("crm", body, f"msg_campaign_{number}")


def _enrollment(enrollment: _Enrollment, at: datetime) -> Post:
    data = {
        "enrollment_id": f"e-{enrollment.number}",
        "campaign_id": f"c-{enrollment.campaign}",
        "email": f"contact{enrollment.number}@example.com",
        "refs": {"lemlist": enrollment.lead, "hubspot": enrollment.contact},
    }
    body = _dump({"type": "enrollment.created", "timestamp": _iso(at + timedelta(seconds=1)), "data": data})
    return Post("crm", body, f"msg_enrollment_{enrollment.number}")


def _lemlist(number: int, enrollment: _Enrollment, action: str, when: datetime, *, restated: bool = False) -> Post:
    name = f"act_{number:09d}" + ("r" if restated else "")
    body = {
        "_id": name,
        "type": "hooked" if restated else f"emails{action.capitalize()}",
        "createdAt": _iso(when),
        "teamId": "tea_demo",
        "campaignId": f"cam_{enrollment.campaign:04d}",
        "campaignName": _NAMES[enrollment.campaign % len(_NAMES)],
        "leadId": enrollment.lead,
        "leadEmail": f"contact{enrollment.number}@example.com",
        "subject": "Quick question",
    }
    return Post("lemlist", _dump(body), name)


def _property(number: int, enrollment: _Enrollment, action: str, when: datetime) -> bytes:
    return _dump(
        {
            "eventId": 1_000_000 + number,
            "subscriptionId": 12_346,
            "portalId": PORTAL,
            "appId": 54_321,
            "occurredAt": _ms(when),
            "subscriptionType": "contact.propertyChange",
            "attemptNumber": 0,
            "objectId": enrollment.contact,
            "propertyName": _HUBSPOT[action],
            "propertyValue": str(_ms(when)),
            "changeSource": "EMAIL",
        }
    )


def _again(item: bytes) -> bytes:
    """Return HubSpot's second notification of the same change: all that differs is the attempt."""
    return item.replace(b'"attemptNumber":0', b'"attemptNumber":1')


def _workflow(number: int, enrollment: _Enrollment, action: str, when: datetime) -> Post:
    body = {
        "eventId": f"wf-{number}",
        "event": action,
        "occurredAt": _ms(when),
        "contactId": enrollment.contact,
        "enrollmentId": f"e-{enrollment.number}",
    }
    return Post("hubspot", _dump(body), f"wf-{number}", version="v2")


def _arrays(items: Sequence[bytes], chance: random.Random) -> list[Post]:
    posts: list[Post] = []
    at = 0
    while at < len(items):
        some = items[at : at + chance.choice((1, 5, 20, 100))]
        posts.append(Post("hubspot", b"[" + b",".join(some) + b"]", f"array-{at}", len(some)))
        at += len(some)
    return posts


def _add_poison(number: int, enrollment: _Enrollment, lemlist: list[Post], spoilt: list[bytes], at: datetime) -> None:
    """Add one event that cannot be applied: text that jsonb refuses, or an element of an array without its id."""
    if number % 2:
        item = json.loads(_property(90_000_000 + number, enrollment, "opened", at))
        del item["eventId"]
        spoilt.append(_dump(item))
    else:
        post = _lemlist(900_000_000 + number, enrollment, "opened", at)
        body = post.body.replace(b"Quick question", rb"Quick\u0000question")
        lemlist.append(Post(post.source, body, post.message_id))
