"""Every provider's own requests are taken, and what an attacker makes of them is refused: by the adapter and by the gate."""

from __future__ import annotations

import time
import uuid

import pytest

from ingest import adapters
from ingest.adapters import catalogue, samples
from ingest.adapters.base import UNAUTHENTIC, Adapter, Parsed, RefusedError, Request
from ingest.adapters.declaration import Declaration, Sample
from tests.providers.posting import Answered, posted
from tests.providers.reading import Vector, provided, vectors
from tidegate.errors import UsageError
from tidegate.stream import Stream

VALID_MIN = 5
HOSTILE_MIN = 8
WAITING: set[str] = set()
"""Providers without vectors for now. To be empty: nobody has shown that what these refuse and take is right."""

ALL = [vector for provider in provided() for vector in vectors(provider)]
PUBLIC_KEYS = ("ecdsa-p256", "ed25519")
SAMPLES = [
    (name, sample)
    for name in adapters.PROVIDERS
    if name not in WAITING  # their secrets are those of the vectors
    for sample in catalogue.declaration(name).samples
]


def _ids(vector: Vector) -> str:
    return vector.id


@pytest.mark.parametrize("provider", adapters.PROVIDERS)
def test_no_provider_is_taken_at_its_word_alone(provider: str) -> None:
    valid = sum(vector.valid for vector in vectors(provider))
    hostile = len(vectors(provider)) - valid
    is_shown = valid >= VALID_MIN and hostile >= HOSTILE_MIN
    if provider in WAITING:
        assert not is_shown, f"{provider} has its vectors: take it out of WAITING"
        return
    assert is_shown, (
        f"{provider} has {valid} valid and {hostile} hostile vectors, {VALID_MIN} and {HOSTILE_MIN} are the least: write "
        f"tests/providers/making/signers/{provider.replace('-', '_')}.py and run `make vectors NAME={provider}`"
    )


def test_nobody_waits_who_is_no_provider() -> None:
    assert set(adapters.PROVIDERS) >= WAITING


def test_no_vectors_are_of_a_provider_that_there_is_not() -> None:
    assert set(provided()) <= set(adapters.PROVIDERS)


def test_no_two_vectors_have_one_id() -> None:
    assert len({vector.id for vector in ALL}) == len(ALL)
    assert all(vector.id.startswith(f"{vector.provider}-") for vector in ALL)


@pytest.mark.parametrize("vector", [vector for vector in ALL if vector.valid], ids=_ids)
def test_what_the_provider_sends_is_taken(vector: Vector) -> None:
    adapter = vector.adapter()
    assert adapter.verify(vector.request, vector.at) == 0
    is_handshake = adapter.greeting(vector.request, vector.at) is not None
    events = [] if is_handshake else adapter.split(vector.request)
    assert bool(events) == vector.is_event, "what brings no event says so in its description: (no event)"
    assert not any(event.malformed for event in events)


@pytest.mark.parametrize("vector", [vector for vector in ALL if not vector.valid], ids=_ids)
def test_what_an_attacker_sends_is_refused(vector: Vector) -> None:
    with pytest.raises(RefusedError) as raised:
        vector.adapter().verify(vector.request, vector.at)
    assert raised.value.reason in UNAUTHENTIC | {"malformed_body"}


async def test_the_gate_answers_each_of_them_as_it_must(stream: Stream) -> None:
    answered = await posted(ALL, stream)
    assert len(answered) == len(ALL)
    wrong = [found for found in answered if not _is_right(found)]
    assert not wrong, "\n" + "\n".join(
        f"{found.vector.id} ({found.vector.description}): {found.status} {found.body.decode()[:200]}" for found in wrong
    )


def _is_right(found: Answered) -> bool:
    if found.vector.valid:
        return 200 <= found.status < 300
    malformed = found.vector.adapter().statuses.get(400, 400)
    return found.status in (400, 401, malformed)


@pytest.mark.parametrize(("provider", "sample"), SAMPLES, ids=[f"{name}-{sample.type}" for name, sample in SAMPLES])
def test_a_sample_is_an_event_of_its_type_and_new_each_time(provider: str, sample: Sample) -> None:
    words = catalogue.declaration(provider)
    first, second = (_sent(provider, words, sample.type) for _ in range(2))
    assert {event.event_type for event in first} == {sample.type}
    assert not any(event.malformed for event in first + second)
    ids = [event.provider_event_id for event in first + second]
    assert len(set(ids)) == len(ids), "a sample sent twice would be taken for a repetition"


def _sent(provider: str, words: Declaration, event_type: str) -> list[Parsed]:
    """Return the events of the sample, signed as the provider would and verified."""
    now = time.time()
    filled = samples.sample(words, event_type=event_type, now_seconds=now)
    url = "https://hooks.example.com/webhooks/sample"
    adapter = _adapter(provider)
    try:
        headers, body = adapter.sign(
            filled.body, url=url, now_seconds=now, message_id=f"msg_{uuid.uuid4().hex}", headers=filled.headers
        )
    except UsageError:
        # Nobody but the provider can sign: then the sample is only cut into events.
        assert all(found.kind in PUBLIC_KEYS for found in words.signatures), "who has the secret can sign with it"
        return adapter.split(Request("POST", url, _lower(filled.headers), filled.body))
    request = Request("POST", adapter.called(url), _lower(headers), body)
    assert adapter.verify(request, now) == 0
    return adapter.split(request)


def _adapter(provider: str) -> Adapter:
    """Return the adapter with the secret that the provider's vectors have."""
    found = vectors(provider)
    assert found, f"{provider} has no vectors, and so no secret that its samples could be signed with"
    return found[0].adapter()


def _lower(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers]
