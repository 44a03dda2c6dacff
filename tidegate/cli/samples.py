"""A payload of each provider, as it would send one: new each time, so that none is taken for a repetition."""

from __future__ import annotations

import secrets
import time

from tidegate.errors import UsageError

TEST_TYPE = "tidegate.test"
"""Type of a sample that should do nothing: no provider sends it, so no handler was written for it."""

_SAMPLES = {
    "lemlist": '{"_id": "act_%(id)s", "type": "%(type)s", "createdAt": "%(at)s", "teamId": "tea_sample"}',
    "hubspot": '[{"eventId": %(number)d, "subscriptionId": 1, "portalId": 62515, "appId": 1, "occurredAt": %(ms)d, '
    '"subscriptionType": "%(type)s", "attemptNumber": 0, "objectId": 123, "changeSource": "CRM"}]',
    "standard-webhooks": '{"type": "%(type)s", "timestamp": "%(at)s", "data": {"id": "%(id)s"}}',
}
_SAMPLES["svix"] = _SAMPLES["standard-webhooks"]
_TYPES = {"lemlist": "emailsOpened", "hubspot": "contact.creation"}


def sample(provider: str, *, event_type: str | None = None) -> bytes:
    """Return the body of a request with one event, of a type ``provider`` does send unless ``event_type`` is given.

    Raises UsageError for a provider without a sample.
    """
    if provider not in _SAMPLES:
        raise UsageError(f"there is no sample of {provider}: give a payload to `tidegate send`")
    now = time.time()
    values = {
        "type": event_type or _TYPES.get(provider, "sample.event"),
        "id": secrets.token_hex(8),
        "number": secrets.randbelow(10**9),
        "ms": int(now * 1000),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
    }
    return (_SAMPLES[provider] % values).encode()
