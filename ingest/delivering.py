"""What an adapter cut out of a request, as deliveries in wire form."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from ingest.adapters.base import Parsed
from ingest.source import Source
from tidegate.event import Delivery, Event
from tidegate.stream import Appendable
from tidegate.wire import encode_meta

_YEAR_10000_MS = 253_402_300_800_000


class Arrival:
    """The events of one request. ``ids`` are the delivery ids given out by the last `deliveries`."""

    def __init__(self, source: Source, parsed: Sequence[Parsed], headers: Mapping[str, str], now_ms: int) -> None:
        self.ids: list[str] = []
        self._source = source
        self._parsed = parsed
        self._headers = headers
        self._now_ms = now_ms

    def deliveries(self) -> list[Appendable]:
        """Return the events as new deliveries: each call gives out ids of its own."""
        made = [self._delivery(item) for item in self._parsed]
        self.ids = [str(delivery.event.delivery_id) for delivery in made]
        return [
            Appendable(self._source.name, item.provider_event_id, encode_meta(delivery), item.payload)
            for item, delivery in zip(self._parsed, made, strict=True)
        ]

    def _delivery(self, parsed: Parsed) -> Delivery:
        occurred_ms = parsed.occurred_at_ms
        if occurred_ms is None or not 0 <= occurred_ms < _YEAR_10000_MS:
            occurred_ms = self._now_ms
        event = Event(
            source=self._source.name,
            provider=self._source.adapter.provider,
            provider_event_id=parsed.provider_event_id,
            event_type=parsed.event_type,
            occurred_at_ms=occurred_ms,
            received_at_ms=self._now_ms,
            key=parsed.key,
            payload=parsed.payload,
            delivery_id=uuid.uuid4(),
            headers=self._headers,
        )
        return Delivery(event, malformed=parsed.malformed)
