"""uvicorn's HTTP protocol, held to limits: no client, however slow or hostile, takes the gate from the others.

What uvicorn does not bound, and is bounded here: bytes and time of a request's head, requests waiting behind another on a
connection, connections, and answers that nobody reads. Malformed HTTP is a problem+json, and no line in the log.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from ingest import problems
from ingest.answering import HARDENING
from ingest.connections import Connections, Line, Reason
from ingest.problems import Problem
from tidegate.telemetry import logs

log = logs.get(__name__)

_PIPELINED_MAX = 8
"""Requests kept behind the one being answered. No provider sends any; each costs some 3 KiB, and 14,000 fit into one read."""
_WRITE_BYTES_MAX = 16_384
"""Answers that a client does not read and the kernel does not take; beyond that we write nothing more until it does."""
_BODY_WORTH = 16
"""So many bytes of framing may come with each byte of a chunked body: 6 do when chunks are as small as can be."""


def protocol(register: Connections) -> type[HttpToolsProtocol]:
    """Return the class that serves the connections of ``register`` within its limits: `server(..., http=...)`."""

    class Bound(GateProtocol):
        pass

    Bound.register = register
    return Bound


class _NotHttpError(Exception):
    """What llhttp lets pass and we do not."""


class _EnoughError(Exception):
    """Nothing that follows on this connection will be answered, so nothing more of it is read."""


class GateProtocol(HttpToolsProtocol):
    """One connection. It is also what its cycles have for a transport, so that `close` lets the answer arrive."""

    register: ClassVar[Connections]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.line: Line | None = None
        self._answering: RequestResponseCycle | None = None
        """Whose application runs, or ran last; `cycle` is the newest, and may wait in `pipeline` behind it."""
        self._begun: RequestResponseCycle | None = None
        """Whose answer was begun last."""
        self._held = b""
        """Its head, until the first of its body comes."""
        self._requests = 0
        self._in_head = False
        self._in_body = False
        self._barren = 0
        """Bytes since something came of them: a whole head, or a piece of a body."""
        self._upgrading = False
        self._deaf = False
        """What still comes is thrown away."""
        self._eof = False
        """The client sends no more."""
        self._ended = False
        """Nothing more will be written."""
        self._last_word: Problem | None = None
        """Answers what came last, once what came before it is answered."""

    # From the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_WRITE_BYTES_MAX)
        if self.register.enter(self):
            self._place()
        else:
            self._refuse(problems.too_many_connections(self.register.limits.retry_after_seconds), "full")

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self.register.exit(self)
        # uvicorn tells the newest cycle only; the one that is running would write to a closed transport.
        for cycle in (self._answering, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.body = bytearray()
        self.pipeline.clear()
        super().connection_lost(exc)
        # Its transport is this object: a ring that only the collector would open, a thousand times a second when each request
        # is turned away and its connection closed.
        self.cycle = None  # type: ignore[assignment] # as uvicorn has it before the first request
        self._answering = self._begun = None

    def eof_received(self) -> bool | None:  # type: ignore[override] # uvicorn always closes
        """The client has sent all it will. It still gets its answers: True keeps the connection open until then."""
        self._eof = True
        if self._ended or not self._busy() or (self._in_body and self.cycle is self._answering):
            return None
        self._enough()
        return True

    def data_received(self, data: bytes) -> None:
        most = self.register.limits.header_bytes_max
        at = 0
        while at < len(data) and not self._deaf:
            # Cut so that a head cannot be larger than the limit and be complete before it is counted.
            piece = data[at : at + most - (0 if self._in_body else self._barren)]
            self._barren += len(piece)
            at += len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade() + piece[upgrade.args[0] :] + data[at:]
                at = 0
                self.parser = httptools.HttpRequestParser(self)  # the old one reads on only if that was no `close`
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
            except httptools.HttpParserError as error:
                self._give_up(error)
            else:
                if self._barren > (most if self._in_body else most - 1):
                    self._refuse(problems.HEADERS_TOO_LARGE, "header_large")
                elif self.pipeline and len(self.cycle.body) > most:
                    self.register.count("pipelined")
                    self._enough()
        self._place()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._place()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._place()

    # From the parser

    def on_message_begin(self) -> None:
        if self.pipeline or self._busy():
            if not self.cycle.keep_alive:
                raise _EnoughError
            if len(self.pipeline) >= _PIPELINED_MAX:
                self.register.count("pipelined")
                raise _EnoughError
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._barren = 0
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise _NotHttpError("CONNECT")
            self._upgrading = True
            return
        if not self.url.startswith(b"/") and httptools.parse_url(self.url).path is None:
            raise _NotHttpError("a target without a path")
        busy = self._busy()
        if self.expect_100_continue and self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # RFC 9110, 10.1.1: such a client would take 100 for its answer
        super().on_headers_complete()
        self._in_body = True
        self.headers = []  # trailers go there, and not among the headers of a request that is being checked
        self.cycle.transport = cast(asyncio.Transport, self)  # see `close`
        if not busy:
            self._answering = self.cycle
        if self.scope["http_version"] not in ("1.1", "1.0"):  # asked for here, since asking llhttp costs a microsecond
            raise _NotHttpError("version")
        self._requests += 1
        if self._requests >= self.register.limits.keep_alive_requests_max:
            self._last("requests")
        elif self.register.leaving:
            self._last("leaving")

    def on_body(self, body: bytes) -> None:
        self._barren = max(0, self._barren - _BODY_WORTH * len(body))
        cycle = self.cycle  # from here on as uvicorn does it for what is no WebSocket
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._upgrading:
            self._upgrading = False
            return
        self._in_body = False
        self._barren = 0
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    # From a cycle

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self._answering is not None:
            self._answering.body = bytearray()  # up to 300 KiB of what was turned away unread, for as long as we linger
        if self._ended or self.transport.is_closing():
            return
        self._let_go()  # of an answer without a body
        if self.pipeline:
            self._answering, app = self.pipeline.pop()
            self._start_asgi_task(self._answering, app)
        elif self._last_word is not None:
            self._end(self._last_word)
        else:
            self.flow.resume_reading()
        self._place()

    def write(self, data: bytes) -> None:
        """A cycle writes head and body apart; together they are one system call and one packet."""
        cycle = self._answering
        if cycle is not self._begun and cycle is not None and cycle.response_started:
            self._begun = cycle
            self._held = data
        elif self._held:
            self.transport.write(self._held + data)
            self._held = b""
        else:
            self.transport.write(data)

    def is_closing(self) -> bool:
        return self._ended or self.transport.is_closing()

    def close(self) -> None:
        """The last answer is written."""
        self._end(None)

    # From the register

    def expire(self, line: Line) -> None:
        if line is self.register.idle:
            self.register.count("idle")
            self._end(None)
        elif line is self.register.heads:
            if self._in_head or (self._barren and not self._in_body):
                self._refuse(problems.TOO_SLOW, "header_slow")
            else:
                self.register.count("silent")
                self._end(None)
        else:
            if line is self.register.unread:
                self.register.count("unread")
            self._ended = True
            self.transport.abort()

    def evict(self) -> None:
        self._ended = True
        self.transport.abort()

    def leave(self) -> None:
        if self._busy():
            self._last("leaving")

    # What happens then

    def _busy(self) -> bool:
        return self._answering is not None and not self._answering.response_complete

    def _let_go(self) -> None:
        if self._held:
            self.transport.write(self._held)
            self._held = b""

    def _place(self) -> None:
        """Stand in line for whatever we wait for now."""
        if self._ended:
            return
        register = self.register
        answering = self._answering
        line: Line | None
        if self.flow.write_paused:
            line = register.unread
        elif answering is not None and not answering.response_complete:
            line = register.bodies if self._in_body and self.cycle is answering else None
        elif self._requests and not (self._in_head or self._in_body or self._barren):
            line = register.idle
        else:
            line = register.heads
        register.wait(self, line)

    def _last(self, reason: Reason) -> None:
        """Let the newest request be the last one that is answered here."""
        if self.cycle.keep_alive:
            self.cycle.keep_alive = False
            self.register.count(reason)

    def _without_upgrade(self) -> bytes:
        """Return the head just read without its Upgrade, which we ignore as RFC 9110 (7.8) has it; llhttp skips its body.

        Java's HttpClient, for one, asks for h2c with every first request.
        """
        content = [
            self.parser.get_method(),
            b" ",
            self.url,
            b" HTTP/",
            self.parser.get_http_version().encode(),
            b"\r\n",
        ]
        for name, value in self.headers:
            if name == b"connection":
                words = [word for word in value.split(b",") if word.strip().lower() != b"upgrade"]
                value = b",".join(words)
            if name != b"upgrade":
                content += [name, b":", value, b"\r\n"]
        return b"".join([*content, b"\r\n"])

    def _give_up(self, error: httptools.HttpParserError) -> None:
        """The parser can read no more."""
        cause = error.__context__
        if isinstance(cause, _EnoughError):
            self._enough()
        elif isinstance(cause, _NotHttpError | httptools.HttpParserError | UnicodeDecodeError | None):
            log.debug("malformed HTTP", error=str(cause or error))
            self._refuse(problems.NOT_HTTP, "malformed")
        else:  # 400 would tell a provider never to send it again
            log.error("a request could not be read for a reason of ours", exc_info=cause)
            self._refuse(problems.unreadable(self.register.limits.retry_after_seconds), "failed")

    def _forget_the_half(self) -> None:
        """Of the requests that wait, drop the one that is not there whole."""
        if self._in_body and self.cycle is not self._answering:
            self.pipeline.popleft()
            self._in_body = False
            self.cycle = self.pipeline[0][0] if self.pipeline else cast(RequestResponseCycle, self._answering)

    def _enough(self) -> None:
        """Answer what is there whole, the last time with `Connection: close`. Called while something is being answered."""
        self._forget_the_half()
        self.cycle.keep_alive = False
        self._stop_hearing()

    def _stop_hearing(self) -> None:
        self._deaf = True
        if not self._eof:  # else resuming would have uvloop read beyond the end
            self.flow.pause_reading()

    def _refuse(self, problem: Problem, reason: Reason) -> None:
        """Answer what came last with ``problem``, and nothing after it."""
        self.register.count(reason)
        self.register.refused(problem, reason, self.client[0] if self.client else "")
        self._forget_the_half()
        self._stop_hearing()
        if self._in_body:
            started = self.cycle.response_started
            self.cycle.disconnected = True  # its application is told so, and whatever it says is not sent
            self.cycle.message_event.set()
            self._end(None if started else problem)
        elif self._busy():
            self._last_word = problem
        else:
            self._end(problem)

    def _end(self, problem: Problem | None) -> None:
        """Close in order, after ``problem`` if there is one."""
        if self._ended or self.transport.is_closing():
            return
        self._ended = True
        self._let_go()
        if problem is not None:
            self.transport.write(self._answer(problem))
        lingers = (self._in_body or self._deaf) and not self._eof
        if lingers:
            self._deaf = True
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()
        if self.transport.get_write_buffer_size():
            self.register.wait(self, self.register.unread)
        else:
            self.register.wait(self, self.register.parted if lingers else None)

    def _answer(self, problem: Problem) -> bytes:
        body = problem.body()
        content = [STATUS_LINE[problem.status]]
        for name, value in (*self.server_state.default_headers, *problem.headers(), *HARDENING):
            content += [name, b": ", value, b"\r\n"]
        content += [b"content-length: ", str(len(body)).encode(), b"\r\nconnection: close\r\n\r\n", body]
        return b"".join(content)
