"""Letters as plain values, for JSON."""

from __future__ import annotations

import base64
from typing import Any

from dlq.letters import Letter


def summary(letter: Letter) -> dict[str, Any]:
    """Return a letter as a list shows it."""
    return {
        "id": str(letter.id),
        "source": letter.source,
        "provider_event_id": letter.provider_event_id,
        "event_type": letter.event_type,
        "reason": letter.reason,
        "error": letter.error,
        "status": letter.status,
        "attempts": letter.attempts,
        "replay_count": letter.replay_count,
        "delivery_id": str(letter.delivery_id),
        "received_at": letter.received_at.isoformat(),
        "created_at": letter.created_at.isoformat(),
        "resolved_at": letter.resolved_at.isoformat() if letter.resolved_at else None,
    }


def whole(letter: Letter) -> dict[str, Any]:
    """Return a letter with its headers, its history and its payload: as text where it is UTF-8, else in base64."""
    found = summary(letter) | {"headers": letter.headers, "history": letter.history}
    try:
        found["payload"] = letter.payload.decode()
    except UnicodeDecodeError:
        found["payload_base64"] = base64.b64encode(letter.payload).decode()
    return found
