"""Events in a list inside the body: a body of another shape is no silence."""

from __future__ import annotations

import json

import pytest

from ingest.adapters import build
from ingest.adapters.base import Parsed
from tests.ingest.adapters.requests import request

XERO = build("xero", ["the-key"])
WHATSAPP = build("whatsapp", ["the-secret"])


def events(body: object) -> list[Parsed]:
    return XERO.split(request(json.dumps(body).encode()))


@pytest.mark.parametrize("body", [{"events": [], "entropy": "x"}, {"events": []}, {}])
def test_an_empty_list_or_object_is_a_sign_of_life(body: object) -> None:
    assert events(body) == []


def test_a_body_without_the_list_becomes_a_letter_and_is_not_answered_as_nothing() -> None:
    """The provider has changed its envelope: 202 and nothing kept would lose all it sends from then on."""
    [found] = events({"Events": [{"resourceId": "r"}]})
    assert found.malformed is not None
    assert "no list events" in found.malformed
    assert found.payload == b'{"Events": [{"resourceId": "r"}]}'


def test_one_of_several_lists_that_is_missing_takes_none_of_the_others_along() -> None:
    body = {
        "object": "whatsapp_business_account",
        "entry": [{"id": "1", "other": []}, {"id": "2", "changes": [{"field": "messages"}]}],
    }
    found = WHATSAPP.split(request(json.dumps(body).encode()))
    assert [event.malformed is None for event in found] == [False, True]
    assert found[0].payload == b'{"id": "1", "other": []}'
