"""The gate: `POST /webhooks/{source}` becomes deliveries that are durable, and then 202.

The hot route is a plain ASGI callable: routing through a framework costs as much again as all the rest of a request.
Everything else is handed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from starlette.types import ASGIApp, Receive, Scope, Send

from ingest import answering, problems
from ingest.adapters.base import UNAUTHENTIC, Adapter, Parsed, RefusedError, Reply, Request
from ingest.adapters.splitting import FORM
from ingest.admission import Admission
from ingest.answering import Answer
from ingest.delivering import Arrival
from ingest.group_commit import NotDurableError, OverloadedError
from ingest.head import ROUTE, Head
from ingest.problems import Problem, ProblemError
from ingest.rates import AddressRates
from ingest.receiving import GoneError, Receiving
from ingest.rejects import Rejects
from ingest.source import Source
from ingest.tiers import Tiers
from ingest.unpacking import NotPackedError, TooLargeError, unpack
from tidegate import jsontext
from tidegate.stream import PauseView
from tidegate.telemetry import logs, metrics, redaction

log = logs.get(__name__)

BY_ADDRESS = (
    "more than ingest.address_rate_per_second from this address: raise it, or name the proxy in trusted_proxies"
)
BY_SOURCE = "more than the source's rate_per_second: raise it, or ask the provider to slow down"
CLIENT_GONE = "499"
"""In the metric, as nginx has it: nobody was left to be answered."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may bring, how many may be under way, and how they may come."""

    body_bytes_max: int = 2_097_152
    json_depth_max: int = 256
    events_max: int = 1000
    requests_max: int = 1000
    require_https: bool = False
    hsts_seconds: int = 0


class _GreetedError(Exception):
    """The request is a handshake: its answer ends it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def _answer(reply: Reply) -> Answer:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers]
    if reply.content_type:
        headers.insert(0, (b"content-type", reply.content_type.encode()))
    return Answer(reply.status, headers, reply.body)


def _allowed(adapter: Adapter) -> str:
    return ", ".join(sorted(adapter.methods | adapter.greets))


class Gate:
    """The ASGI application. ``rest`` answers whatever is not a webhook: health, metrics, 404."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        tiers: Tiers,
        admission: Admission,
        receiving: Receiving,
        rejects: Rejects,
        pauses: PauseView,
        address_rates: AddressRates | None,
        limits: Limits,
        rest: ASGIApp,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sources = sources
        self._tiers = tiers
        self._admission = admission
        self._receiving = receiving
        self._rejects = rejects
        self._pauses = pauses
        self._address_rates = address_rates
        self._limits = limits
        self._rest = answering.hardened(rest)
        self._under_way = 0
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(ROUTE):
            await self._rest(scope, receive, send)
            return
        started = time.perf_counter()
        request = _Request(Head.of(scope), scope, receive)
        self._under_way += 1
        try:
            answer = await self._answer(request)
        except GoneError:
            metrics.INGEST_REQUESTS.labels(metrics.source_label(request.head.source), CLIENT_GONE).inc()
            return
        finally:
            self._under_way -= 1
        await answering.send(answer, request.head, send, hsts_seconds=self._limits.hsts_seconds, unread=request.unread)
        metrics.INGEST_REQUESTS.labels(metrics.source_label(request.head.source), str(answer.status)).inc()
        metrics.INGEST_SECONDS.observe(time.perf_counter() - started)

    async def _answer(self, request: _Request) -> Answer:
        try:
            return await self._webhook(request)
        except ProblemError as error:
            problem = error.problem
            self._note(request, problem, error)
        except GoneError:
            raise
        except asyncio.CancelledError:
            # The gate stops and has waited for as long as it may. The event may be durable: sent again it is recognised.
            problem = problems.nowhere_durable(self._retry_after_seconds())
        except Exception:
            log.exception("a webhook failed for a reason of ours", request_id=request.head.request_id)
            problem = problems.nowhere_durable(self._retry_after_seconds())
        source = self._sources.get(request.head.source)
        # To whom nobody vouches for we say what is the case; a provider is told what makes it do what we mean.
        if source is not None and (request.authentic or problem.status in (429, 503)):
            problem = replace(problem, status=source.adapter.statuses.get(problem.status, problem.status))
        return Answer(problem.status, problem.headers(), problem.body())

    async def _webhook(self, request: _Request) -> Answer:
        await self._admit_address(request.head)
        source = self._sources.get(request.head.source)
        if source is None:
            raise ProblemError(problems.UNKNOWN_SOURCE, "unknown_source")
        request.source = source
        if self._limits.require_https and request.head.scheme != "https":
            location = request.head.secure_url(request.scope, source.public_url)
            raise ProblemError(problems.not_https(location), "not_https")
        if request.head.method in source.adapter.greets - {"POST"} and not request.head.has_body:
            greeted = self._greeted(request, source)
            if greeted is not None:
                return greeted
        if request.head.method == "OPTIONS":  # answered, and no word of other origins: browsers have no business here
            return Answer(204, [(b"allow", _allowed(source.adapter).encode())], b"")
        if request.head.method not in source.adapter.methods | (source.adapter.greets & {"POST"}):
            raise ProblemError(problems.only(_allowed(source.adapter)), "method")
        await self._admit(source)
        request.head = request.head.check(source, body_bytes_max=self._limits.body_bytes_max)
        body = await self._receiving.body(request.receive)
        request.unread = False
        request.body_bytes = len(body)
        try:
            parsed = self._events(request, source, body)
        except _GreetedError as greeted:
            return greeted.answer
        except RefusedError as refused:
            raise ProblemError(problems.of_refusal(refused), refused.reason, refused.detail) from refused
        # Only what is authentic counts: else whoever knows the URL could use up the rate of the provider.
        if source.rate is not None and not await source.rate.admits():
            raise ProblemError(problems.rate_limited(source.rate.retry_after_seconds), "rate_limited", BY_SOURCE)
        # However long the events wait to be durable: the bytes are kept once, and counted, and not a second time as a body.
        del body
        request.signed = None
        return await self._accept(source, parsed, request)

    async def _admit_address(self, head: Head) -> None:
        if self._address_rates is not None:
            rate = self._address_rates.rate_of(head.address)
            if not await rate.admits():
                raise ProblemError(problems.rate_limited(rate.retry_after_seconds), "rate_limited", BY_ADDRESS)

    async def _admit(self, source: Source) -> None:
        """Raise ProblemError for what is turned away unread: it costs us next to nothing then."""
        pause = self._pauses.get(source.name)
        if pause is not None and pause.mode == "refuse":
            raise ProblemError(problems.paused(self._retry_after_seconds()))
        if source.rate is not None and not source.rate.has_room():
            raise ProblemError(problems.rate_limited(source.rate.retry_after_seconds), "rate_limited", BY_SOURCE)
        if self._admission.is_closed(time.monotonic()):
            raise ProblemError(problems.overloaded(self._retry_after_seconds()))
        if self._under_way > self._limits.requests_max and not self._receiving.make_room():
            raise ProblemError(problems.overloaded(self._retry_after_seconds()))

    def _retry_after_seconds(self) -> int:
        return self._admission.retry_after_seconds(time.monotonic())

    def _events(self, request: _Request, source: Source, body: bytes) -> list[Parsed]:
        """Return what the request brings; raise RefusedError or ProblemError when it is not authentic, or no events."""
        head = request.head
        plain = self._unpacked(body, head.coding)
        request.signed = Request(head.method, head.url(request.scope, source.public_url), head.headers, plain)
        now_seconds = self._clock()
        try:
            reply = source.adapter.greeting(request.signed, now_seconds)
            if reply is not None:
                with contextlib.suppress(RefusedError):  # most handshakes are signed by nobody
                    signer = source.secrets[source.adapter.verify(request.signed, now_seconds)]
                    signer.verified(now_seconds, head.user_agent)
                raise _GreetedError(_answer(reply))
            verified = source.adapter.verify(request.signed, now_seconds)
        except RefusedError as refused:
            # What was compressed on its way was signed before, as a rule; who signs what is sent is as authentic.
            if not head.coding or refused.reason not in UNAUTHENTIC:
                raise
            try:
                verified = source.adapter.verify(replace(request.signed, body=body), now_seconds)
            except RefusedError:
                raise refused from None
        source.secrets[verified].verified(now_seconds, head.user_agent)
        request.authentic = True
        self._check_depth(plain)
        parsed = source.adapter.split(request.signed)
        if head.content_type == FORM:  # where JSON was in a field its brackets were escaped
            for event in parsed:
                self._check_depth(event.payload)
        if len(parsed) > self._limits.events_max:
            raise RefusedError("too_many_events", f"{len(parsed)} events, {self._limits.events_max} are allowed")
        return parsed

    def _check_depth(self, text: bytes) -> None:
        if jsontext.is_deeper(text, self._limits.json_depth_max):
            detail = f"nested deeper than {self._limits.json_depth_max}: raise ingest.json_depth_max if that is meant"
            raise ProblemError(problems.MALFORMED, "depth", detail)

    def _greeted(self, request: _Request, source: Source) -> Answer | None:
        """Return the answer to a handshake that has no body, None when it is no handshake but as any other request."""
        head = request.head.check(source, body_bytes_max=self._limits.body_bytes_max)
        request.signed = Request(head.method, head.url(request.scope, source.public_url), head.headers, b"")
        try:
            reply = source.adapter.greeting(request.signed, self._clock())
        except RefusedError as refused:
            raise ProblemError(problems.of_refusal(refused), refused.reason, refused.detail) from refused
        return None if reply is None else _answer(reply)

    def _unpacked(self, body: bytes, coding: str) -> bytes:
        if not coding:
            return body
        try:
            return unpack(body, coding, bytes_max=self._limits.body_bytes_max)
        except TooLargeError:
            detail = f"unpacked more than {self._limits.body_bytes_max} bytes"
            raise ProblemError(problems.TOO_LARGE, "too_large", detail) from None
        except NotPackedError as error:
            raise ProblemError(problems.MALFORMED, "encoding", str(error)) from None

    async def _accept(self, source: Source, parsed: list[Parsed], request: _Request) -> Answer:
        proofs, head = source.adapter.secret_headers, request.head
        plain = [pair for pair in head.headers if pair[0] not in proofs] if proofs else head.headers
        if request.scope["query_string"]:
            # A token may be in it, and proxies repeat the whole URL in headers of many names.
            plain = [(name, source.adapter.masked(value)) for name, value in plain]
        kept_headers = redaction.headers(plain) | {"x-request-id": head.request_id}
        arrival = Arrival(source, parsed, kept_headers, time.time_ns() // 1_000_000)
        try:
            kept = await self._tiers.keep(arrival.deliveries(), anew=arrival.deliveries)
        except OverloadedError:
            raise ProblemError(problems.overloaded(self._retry_after_seconds())) from None
        except NotDurableError:  # the fuses have said why, once
            raise ProblemError(problems.nowhere_durable(self._retry_after_seconds())) from None
        metrics.KEPT.labels(kept.tier).inc(len(parsed))
        ids = [delivery_id for delivery_id, new in zip(arrival.ids, kept.new, strict=True) if new]
        durability = (b"tidegate-durability", kept.tier.encode())
        told = source.adapter.success
        if told is not None and (told.body or not told.content_type):
            answer = _answer(told)
            return replace(answer, headers=[*answer.headers, durability])
        body = json.dumps({"accepted": len(ids), "duplicates": len(kept.new) - len(ids), "ids": ids}).encode()
        status = 202 if told is None else told.status
        return Answer(status, [(b"content-type", b"application/json"), durability], b"" if status == 204 else body)

    def _note(self, request: _Request, problem: Problem, error: ProblemError) -> None:
        """Keep a record of a refusal. Of what is only turned away for now the metrics tell."""
        if not error.reason:
            return
        refused = error.__cause__
        head, source = request.head, request.source
        self._rejects.note(
            source=head.source,
            status=problem.status,
            reason=error.reason,
            detail=error.detail,
            adapter=source.adapter if source is not None else None,
            request=request.signed,
            body_bytes=request.body_bytes,
            clock_seconds=refused.clock_seconds if isinstance(refused, RefusedError) else None,
            address=head.address,
            request_id=head.request_id,
            content_type=head.content_type,
            user_agent=head.user_agent,
            now_seconds=time.time(),
        )


class _Request:
    """What is known of one request so far, for its answer and the record of it."""

    __slots__ = ("authentic", "body_bytes", "head", "receive", "scope", "signed", "source", "unread")

    def __init__(self, head: Head, scope: Scope, receive: Receive) -> None:
        self.head = head
        self.scope = scope
        self.receive = receive
        self.source: Source | None = None
        self.signed: Request | None = None
        self.authentic = False
        self.body_bytes = 0
        self.unread = head.has_body
