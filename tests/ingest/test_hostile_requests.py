"""Whatever a client sends, the gate refuses it and goes on: no fault, no traceback, no secret told, nothing taken unsigned."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingest.authentic import is_authentic
from tests.ingest.hostile import BODIES, Attack, Edit, attacks, edits
from tests.ingest.process import PROVIDERS, SECRETS, Answer, Gate, render
from tests.servers import Servers
from tidegate import jsontext
from tidegate.stream.keys import Keys

pytestmark = pytest.mark.process

REFUSALS = {400, 401, 404, 405, 408, 413, 415, 431}
BARE_SECRETS = [secret.removeprefix("whsec_") for secret in SECRETS.values()]

ours = settings(
    deadline=None,  # a busy machine is no failure
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture
def witness(gate_process: Gate) -> Iterator[Gate]:
    """The gate; at the end nothing in all that it logged and measured may be a fault or a secret."""
    yield gate_process
    _still_good(gate_process)
    metrics = gate_process.ask(render(b"/metrics", [(b"Host", b"x")], b"", method=b"GET")).text
    assert not [secret for secret in BARE_SECRETS if secret in metrics]


def _still_good(gate: Gate) -> None:
    """Assert that the gate takes a good request, and that what it logged meanwhile is no fault and tells no secret."""
    headers, body = gate.sign("crm", BODIES["crm"], f"msg_{secrets.token_hex(8)}")
    assert gate.ask(render(b"/webhooks/crm", headers, body)).status == 202
    for line in gate.new_log():
        said = json.loads(line)
        assert said["level"] in ("debug", "info", "warning"), line
        assert "exception" not in said, line
        assert "Traceback" not in line, line
        assert not [secret for secret in BARE_SECRETS if secret in line], line


class _Stream:
    """What the gate has put on its stream, as far as it was not seen before."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client = client
        self._key = key
        self._seen = b"-"
        self.new_payloads()

    def new_payloads(self) -> list[tuple[str, bytes]]:
        """Return source and payload of each delivery since this was last asked."""
        entries: Any = self._client.xrange(self._key, self._seen)
        if entries:
            self._seen = b"(" + entries[-1][0]
        return [(fields[b"source"].decode(), fields[b"payload"]) for _, fields in entries]


@pytest.fixture
def stream(servers: Servers, gate_prefix: str) -> Iterator[_Stream]:
    with redis.Redis.from_url(servers.redis_url) as client:
        yield _Stream(client, Keys(gate_prefix, 0).events)


def _is_refused(answer: Answer, others: Collection[int] = ()) -> None:
    assert answer.status in REFUSALS or answer.status in others, answer.text
    assert not [secret for secret in BARE_SECRETS if secret in answer.text], answer.text


@pytest.mark.parametrize("source", PROVIDERS)
def test_a_hostile_request_is_refused_and_harms_nobody(witness: Gate, source: str) -> None:
    @settings(ours, max_examples=120)
    @given(attacks(source))
    def attacked(attack: Attack) -> None:
        sent = attack.made(witness)
        if sent.is_one_request:
            answers = [witness.ask(*sent.pieces, head=sent.method == b"HEAD")]
        else:
            answers = witness.provoke(*sent.pieces)
        for answer in answers:
            if answer.status != 202:
                _is_refused(answer, {204} if sent.method == b"OPTIONS" else ())
            elif sent.is_one_request:
                assert is_authentic(sent)
        _still_good(witness)

    attacked()


SIGNED = {source: body for source, body in BODIES.items() if source != "hubspot"} | {
    "hubspot": jsontext.elements(BODIES["hubspot"])[0][1]
}
"""The only payload that each provider has ever signed in these tests."""


@pytest.mark.parametrize("source", PROVIDERS)
def test_a_request_mangled_anywhere_cannot_put_on_the_stream_what_nobody_signed(
    witness: Gate, stream: _Stream, source: str
) -> None:
    @settings(ours, max_examples=120)
    @given(
        st.lists(edits, min_size=1, max_size=4),
        st.lists(st.integers(0, 2000), max_size=3),
        st.booleans(),
        st.booleans(),
    )
    def mangled(changes: Sequence[Edit], cut_at: Sequence[int], chunked: bool, twice: bool) -> None:
        headers, body = witness.sign(source, BODIES[source], f"msg_{secrets.token_hex(8)}")
        raw = render(f"/webhooks/{source}".encode(), headers, body, chunked=chunked) * (2 if twice else 1)
        for change in changes:
            raw = change.of(raw)
        places = sorted({0, *(at % (len(raw) + 1) for at in cut_at), len(raw)})
        for answer in witness.provoke(*(raw[start:end] for start, end in pairwise(places))):
            if answer.status != 202:
                _is_refused(answer)
        for name, payload in stream.new_payloads():
            if name == "lemlist":  # nothing signs its bodies
                assert SECRETS[name].encode() not in payload
            else:
                assert payload == SIGNED[name]
        _still_good(witness)

    mangled()


def test_a_fault_in_the_second_of_two_requests_in_one_go_is_no_fault_of_the_first(gate_process: Gate) -> None:
    headers, body = gate_process.sign("crm", BODIES["crm"], "msg_pipelined")
    first = render(b"/webhooks/crm", headers, body)
    second = b"POST /webhooks/crm HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n"
    gate_process.provoke(first + second)
    _still_good(gate_process)
