"""tidegate.wire: whatever lies on a stream is a delivery that can be stored, or is refused as WireError."""

from __future__ import annotations

from tests.fuzz import of_json, reference
from tests.fuzz.target import Target, expect
from tidegate.jsontext import is_storable
from tidegate.wire import TEXT_CHARS_MAX, Entry, WireError, decode, encode_meta, parse

_META = (
    b'{"provider":"lemlist","type":"emailsOpened","delivery":"0c7f6c1e3b5a4d0f9a8b7c6d5e4f3a2b","occurred_ms":1789000000000,'
    b'"received_ms":1789000000001}'
)
_WHOLE = (
    b'{"provider":"hubspot","type":"contact.creation","delivery":"0c7f6c1e-3b5a-4d0f-9a8b-7c6d5e4f3a2b","occurred_ms":1,'
    b'"received_ms":2,"key":"contact:3","headers":{"user-agent":"x"},"attempt":3,"history":[[1,"retry","E: no"]],"replay":1,'
    b'"malformed":"not an object"}'
)
_WORDS = (
    *of_json.WORDS, b'"provider":', b'"type":', b'"delivery":', b'"occurred_ms":', b'"received_ms":', b'"key":', b'"headers":{',
    b'"attempt":', b'"history":[[', b'"replay":', b'"malformed":', b"2147483648", b"253402300800000", b"\x00",
)  # fmt: skip


def fields(raw: bytes) -> None:
    """Four fields, a line each and the payload last: a delivery, which written and read again is the same one."""
    source, provider_event_id, meta, payload = (*raw.split(b"\n", 3), b"", b"", b"")[:4]
    reference.teach(meta)
    try:
        delivery = parse(source, provider_event_id, meta, payload)
    except WireError:
        return
    event = delivery.event
    for text in (event.source, event.provider, event.provider_event_id, event.event_type, event.key):
        expect(len(text) <= TEXT_CHARS_MAX and is_storable(text), "what identifies an event can be stored")
    expect(bool(event.source and event.provider_event_id), "an event is identified")
    expect(bool(event.occurred_at.isoformat() and event.received_at.isoformat()), "its times are times")
    again = parse(source, provider_event_id, encode_meta(delivery), payload)
    expect(again == delivery, f"written and read again it is {again}, and was {delivery}")


def entry(raw: bytes) -> None:
    """Any fields at all, names and values alternating."""
    given = raw.split(b"\x00")
    for field in given:
        reference.teach(field)
    try:
        delivery = decode(Entry(0, b"1-1", given))
    except WireError:
        return
    named = dict(zip(given[::2], given[1::2], strict=False))
    expect(delivery.event.payload == named[b"payload"], "the payload is what was there")


TARGETS = (
    Target(
        "wire-parse",
        fields,
        [
            b"shop\nact_1\n%s\n{}" % meta
            for meta in (_META, _WHOLE, _META.replace(b"{", b'{"history":[],"headers":null,'))
        ],
        _WORDS,
    ),
    Target(
        "wire-decode",
        entry,
        [
            b"v\x001\x00source\x00shop\x00id\x00act_1\x00meta\x00%s\x00payload\x00{}" % _META,
            b"v\x002",
            b"v\x001\x00id\x00a",
        ],
        (*_WORDS, b"\x00payload\x00", b"\x00source\x00", b"\x00id\x00", b"v\x001\x00", b"\x00meta\x00"),
    ),
)
