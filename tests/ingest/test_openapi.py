"""openapi.json is what whoever calls the gate is told; the gate must do what it says, whatever it is sent."""

from __future__ import annotations

import ast
import asyncio
import copy
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.applications import Starlette

import ingest
from ingest import description
from tests.ingest import process
from tests.ingest.process import ANSWER_SECONDS, BODY_BYTES_MAX, GREETING, PROVIDERS, VERIFY_TOKEN, Gate
from tidegate.embedded import RedisServer
from tidegate.errors import UsageError
from tidegate.serving import listen, server

pytestmark = pytest.mark.process

SEED = int(os.environ.get("TIDEGATE_TEST_SEED") or (1 if os.environ.get("CI") else secrets.randbelow(2**32)))

AS_DESCRIBED = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SOURCES = PROVIDERS | GREETING
BODY = b'{"type": "campaign.created", "timestamp": "2026-01-01T00:00:00Z", "data": {"campaign_id": "c-1"}}'


def _for_our_sources() -> dict[str, Any]:
    """Return the document with the sources of this gate in it, or hardly a request would find one."""
    found = copy.deepcopy(description.document())
    (source,) = found["paths"]["/webhooks/{source}"]["parameters"]
    source["schema"] = {"enum": sorted(SOURCES)}
    return found


api = schemathesis.openapi.from_dict(_for_our_sources(), config=SchemathesisConfig(seed=SEED))


@pytest.fixture(autouse=True)
def _seed() -> None:
    print(f"TIDEGATE_TEST_SEED={SEED} repeats this run")


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        yield opened


def _message_id() -> str:
    return f"msg_{secrets.token_hex(8)}"


def _signed(gate: Gate, request: requests.PreparedRequest, source: str) -> requests.PreparedRequest:
    """Return ``request`` with the signature of its body: unsigned, nothing gets further than 401."""
    body = request.body.encode() if isinstance(request.body, str) else request.body or b""
    assert isinstance(body, bytes)
    try:
        headers, signed = gate.sign(source, body, _message_id())
    except UsageError:  # nothing that Lemlist could have sent
        return request
    request.headers.update({name.decode(): value.decode() for name, value in headers[2:]})
    request.prepare_body(signed, None)
    return request


@api.parametrize()
@settings(
    max_examples=60,
    deadline=None,  # a busy machine is no failure
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_is_sent_is_answered_as_described_and_never_with_a_fault(
    case: schemathesis.Case[Any], gate_process: Gate, session: requests.Session
) -> None:
    request = requests.Request(**case.as_transport_kwargs(base_url=gate_process.url)).prepare()
    source = (case.path_parameters or {}).get("source")
    if case.method.upper() == "POST" and source in list(SOURCES):  # which may be a list itself
        request = _signed(gate_process, request, source)
    answer = session.send(request, timeout=ANSWER_SECONDS, allow_redirects=False)
    case.validate_response(answer, checks=[not_a_server_error, *AS_DESCRIBED])
    # None of these providers has a code of its own for a refusal: what stands for those must not hide an unknown one.
    if case.method.upper() == case.operation.method.upper():
        assert answer.status_code < 300 or str(answer.status_code) in case.operation.responses.status_codes


FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Attempt:
    """A request to the source of that name; ``body`` is signed, and ``changed`` headers are put over those of the signer."""

    method: str
    source: str
    body: bytes | None = None
    changed: Mapping[str, str] = field(default_factory=dict)
    query: str = ""

    def checked(self, gate: Gate, session: requests.Session) -> requests.Response:
        """Send it; assert that the answer is one that the document knows."""
        headers, signed = gate.sign(self.source, self.body, _message_id()) if self.body is not None else ([], None)
        named = {name.decode().lower(): value.decode() for name, value in headers[1:]} | dict(self.changed)
        answer = session.request(
            self.method,
            f"{gate.url}/webhooks/{self.source}{self.query}",
            headers=named,
            data=signed,
            timeout=ANSWER_SECONDS,
            allow_redirects=False,
        )
        self.case.validate_response(answer, checks=AS_DESCRIBED)
        return answer

    @property
    def case(self) -> schemathesis.Case[Any]:
        return api["/webhooks/{source}"][self.method].Case(path_parameters={"source": self.source})


@pytest.mark.parametrize(
    ("status", "name", "sent"),
    [
        (202, "", Attempt("POST", "crm", BODY)),
        (202, "", Attempt("POST", "hubspot", b"[]")),
        (400, "malformed", Attempt("POST", "crm", b"[1]")),
        (400, "no-event-id", Attempt("POST", "lemlist", b'{"type": "emailsOpened"}')),
        (401, "unauthorized", Attempt("POST", "crm", BODY, {"webhook-signature": "v1,AAAA"})),
        (404, "unknown-source", Attempt("POST", "nobody")),
        (404, "unknown-source", Attempt("GET", "nobody")),
        (405, "method-not-allowed", Attempt("GET", "crm")),
        (405, "method-not-allowed", Attempt("GET", "events")),
        (405, "method-not-allowed", Attempt("GET", "social")),
        (200, "", Attempt("POST", "chat", b'{"type": "url_verification", "challenge": "c"}')),
        (
            200,
            "",
            Attempt("POST", "chat", b'{"type": "event_callback", "event_id": "Ev1", "event": {"type": "message"}}'),
        ),
        (200, "", Attempt("POST", "chat", b"command=%2Fhello&trigger_id=1", FORM)),
        (400, "malformed", Attempt("POST", "chat", b"command=%ff", FORM)),
        (401, "unauthorized", Attempt("POST", "chat", b"command=a", FORM | {"x-slack-signature": "v0=00"})),
        (
            200,
            "",
            Attempt("GET", "social", query=f"?hub.mode=subscribe&hub.verify_token={VERIFY_TOKEN}&hub.challenge=1"),
        ),
        (401, "unauthorized", Attempt("GET", "social", query="?hub.mode=subscribe&hub.verify_token=x&hub.challenge=1")),
        (200, "", Attempt("OPTIONS", "events", changed={"webhook-request-origin": "emitter.example.com"})),
        (204, "", Attempt("OPTIONS", "events")),
        (204, "", Attempt("OPTIONS", "chat")),
        (202, "", Attempt("POST", "events", b"[]", {"content-type": "application/cloudevents-batch+json"})),
        (
            415,
            "unsupported-media-type",
            Attempt("POST", "events", b"x", {"content-type": "application/cloudevents+avro"}),
        ),
        (405, "", Attempt("HEAD", "crm")),
        (204, "", Attempt("OPTIONS", "crm")),
        (400, "malformed", Attempt("POST", "crm", b"[" * 300 + b"]" * 300)),
        (413, "too-large", Attempt("POST", "crm", b" " * BODY_BYTES_MAX + BODY)),
        (413, "too-many-events", Attempt("POST", "hubspot", b"[%s]" % b",".join([b"1"] * 1001))),
        (415, "unsupported-media-type", Attempt("POST", "crm", BODY, {"content-type": "text/plain"})),
        (415, "unsupported-coding", Attempt("POST", "crm", BODY, {"content-encoding": "br"})),
    ],
)
def test_each_answer_that_can_be_provoked_is_described(
    gate_process: Gate, session: requests.Session, status: int, name: str, sent: Attempt
) -> None:
    answer = sent.checked(gate_process, session)
    assert answer.status_code == status
    if name:
        assert answer.json()["type"] == f"urn:tidegate:problem:{name}"


def test_a_503_is_described_too(
    tmp_path: Path,
    own_redis: Callable[..., RedisServer],
    postgres_url: str,
    prefix: str,
    session: requests.Session,
) -> None:
    redis = own_redis()
    toml = "append_seconds = 1\ninbox_rows_max = 0"
    with process.running(tmp_path, redis.url, postgres_url, prefix, toml=toml) as gate:
        redis.kill()
        assert Attempt("POST", "crm", BODY).checked(gate, session).status_code == 503
        ready = session.get(f"{gate.url}/readyz", timeout=ANSWER_SECONDS)
        api["/readyz"]["GET"].Case().validate_response(ready, checks=AS_DESCRIBED)
        assert ready.status_code == 503


@pytest.mark.parametrize(
    ("status", "kind", "allow", "name", "said"),
    [
        (405, "application/problem+json", "POST", "method-not-allowed", None),
        (302, "application/problem+json", "POST", "method-not-allowed", "Undocumented status code"),
        (405, "application/problem+json", "POST", "invented", "violates schema"),
        (405, "application/problem+json", None, "method-not-allowed", "Missing required response headers"),
        (405, "text/html", "POST", "method-not-allowed", "Undocumented Content-Type"),
    ],
)
def test_an_answer_that_is_not_described_is_noticed(
    status: int, kind: str, allow: str | None, name: str, said: str | None
) -> None:
    """The tests above would be worth nothing if their checks found nothing."""
    answer = schemathesis.Response(
        status,
        {"content-type": [kind]} | ({"allow": [allow]} if allow else {}),
        b'{"type": "urn:tidegate:problem:%s", "title": "x", "status": 405}' % name.encode(),
        requests.Request("GET", "http://gate/webhooks/crm").prepare(),
        elapsed=0.1,
        verify=True,
    )
    case = Attempt("GET", "crm").case
    if said is None:
        case.validate_response(answer, checks=AS_DESCRIBED)
    else:
        with pytest.raises(FailureGroup, match=said):
            case.validate_response(answer, checks=AS_DESCRIBED)


def test_every_problem_of_the_gate_is_described_and_no_other() -> None:
    """A client that was written against the document must know every `type` that it can meet."""
    assert _described() == _in_the_code()


def _in_the_code() -> set[tuple[int, str]]:
    """Return status and name of each `Problem(status, name, ...)` in the gate."""
    found = set()
    for path in Path(ingest.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Name(id="Problem") | ast.Attribute(attr="Problem"),
                    args=[ast.Constant(value=int(status)), ast.Constant(value=str(name)), *_],
                ):
                    found.add((status, name))
                case ast.Call(func=ast.Name(id="Problem") | ast.Attribute(attr="Problem")):
                    pytest.fail(f"{path.name}:{node.lineno}: write status and name out, so that they can be found")
    assert (401, "unauthorized") in found
    return found


def _described() -> set[tuple[int, str]]:
    found = set()
    for response in description.document()["components"]["responses"].values():
        for content in response.get("content", {}).values():
            told = content["schema"].get("properties", {})
            for kind in told.get("type", {}).get("enum", []):
                found.add((told["status"]["const"], kind.removeprefix("urn:tidegate:problem:")))
    return found


def test_the_document_is_valid_openapi_and_all_that_it_refers_to_is_there() -> None:
    api.validate()
    text = str(description.document())
    for kind in ("responses", "schemas"):
        for name in description.document()["components"][kind]:
            assert f"#/components/{kind}/{name}'" in text, f"{name} is not used"


async def test_the_gate_describes_itself() -> None:
    listener = listen("127.0.0.1", 0)
    serving = server(Starlette(routes=[description.route]))
    task = asyncio.create_task(serving.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/openapi.json"
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        assert answer.content_type == "application/json"
        found = await answer.json()
    assert found == description.document()
    assert found["info"]["version"] != "0"
    serving.stop()
    await task
